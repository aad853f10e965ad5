"""A tiny burst from beginning to end, and what the reports say of it."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

import tests.burst.__main__ as burst
from ops import stores
from ops.servers import REPOSITORY
from tests.burst.chaos import UNTIL, Blow, blows_of, moments_of
from tests.burst.diary import Asked, Paid
from tests.burst.endings import BANK, LIMITER, MONGODB, where_requests_ended
from tests.burst.pictures import picture_of
from tests.burst.plan import Plan
from tests.burst.play import play
from tests.burst.report import command_of, text_of
from tests.burst.verdict import Evidence, Evident
from tests.support.descriptions import description_of

pytestmark = [pytest.mark.alone, pytest.mark.stack]

TINY = Plan(crowd=60, bots=20, seconds=6, seed=9201)


@pytest.fixture(scope="module")
def report_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, report_dir) -> Evidence:
    return play(TINY, tmp_path_factory.mktemp("burst"), report_dir)


def test_a_tiny_burst_is_as_promised_and_everybody_took_part(evidence, report_dir):
    evident = Evident(evidence)
    verdict = evident.judge()
    assert verdict.holds, text_of(verdict)
    seen = {(answer.who, answer.call, answer.said) for answer in evident.answers}
    assert seen >= {
        ("human", "hold list", "201"),
        ("human", "hold best", "201"),
        ("human", "pay", "201"),
        ("human", "pay", "201 replayed"),
        ("human", "pay", "402 payment_declined"),
        ("human", "pay", "202 action_required"),
        ("human", "answer to bank", "303 to the hold"),
        ("human", "way back", "303 to the hold"),
        ("human", "give up", "204"),
        ("page", "form to hold", "303 to the hold"),
        ("page", "form to pay", "303"),
        ("botnet", "hold seat", "201"),
        ("sweeper", "hold seat", "429 rate_limited"),
    }
    answers = {asked.answer for asked in evident.asked.values()}
    assert answers == {"accept", "refuse", "give up", ""}
    assert "Request Statistics" in (report_dir / "locust.html").read_text()
    assert (report_dir / "logs/web.log").exists()


def test_after_a_tiny_burst_everybody_is_let_in_once_and_nobody_else(evidence):
    doors = Evident(evidence).judge().doors
    assert doors.let_in == doors.sold > 0
    assert min(doors.inside, doors.invalid, doors.refunded) > 0
    assert any(scanned.repeated for scanned in evidence.door.scanned)


def test_what_is_missing_of_a_real_burst_is_missed(evidence):
    lost = a_receipt(evidence).hold_id
    fewer = [booking for booking in evidence.bookings if booking["hold_id"] != lost]
    assert "lost receipts" in broken_in(replace(evidence, bookings=fewer, inserts=None))


def a_receipt(evidence: Evidence) -> Paid:
    """Not everybody who has paid has seen one."""
    return next(line for line in evidence.lines if isinstance(line, Paid))


def test_a_seat_that_was_confirmed_at_the_bank_is_missed(evidence):
    confirmed = {line.hold_id for line in evidence.lines if is_yes(line)}
    rest = [booking for booking in evidence.bookings if booking["hold_id"] not in confirmed]
    assert "confirmed in time, and no seat" in broken_in(replace(evidence, bookings=rest))


def test_a_charge_is_recognised_as_that_of_the_payment_that_was_not_confirmed(evidence):
    unconfirmed = [
        msgspec.structs.replace(line, answer="") if is_yes(line) else line
        for line in evidence.lines
    ]
    broken = broken_in(replace(evidence, lines=unconfirmed))
    assert broken == {"charged without the owner's yes"}


def is_yes(line) -> bool:
    return isinstance(line, Asked) and line.answer == "accept"


def broken_in(evidence: Evidence) -> set[str]:
    return {zero.name for zero in Evident(evidence).judge().zeros if zero.cases}


def test_every_request_has_ended_somewhere_and_bookings_in_mongodb(evidence):
    evident = Evident(evidence)
    answers = evident.answers
    ended = where_requests_ended(answers, evidence.refused_by_limiter)
    assert ended.total() == len(answers)
    confirmed = evident.at_bank().confirmed
    assert len(evidence.bookings) - confirmed <= ended[MONGODB] <= len(evidence.bookings)
    assert ended[BANK] >= confirmed > 0
    assert ended[LIMITER] == evidence.refused_by_limiter > 0


@pytest.fixture
def played(evidence, monkeypatch, tmp_path) -> Path:
    """``main`` has this burst to judge, and writes here."""
    monkeypatch.setattr(burst, "REPORT_DIR", tmp_path / "report")
    monkeypatch.setattr(burst, "KEPT_DIR", tmp_path / "kept")
    for name in Plan.__struct_fields__:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(burst, "play", lambda *_: evidence)
    return tmp_path


def test_the_command_ends_with_0_and_a_report(played, capsys):
    assert burst.main() == 0
    assert "All as promised." in capsys.readouterr().out
    assert "<svg" in (played / "report/index.html").read_text()
    assert not (played / "kept").exists(), "nothing is kept that nobody asked for"


def test_the_command_ends_with_1_when_a_receipt_is_lost(played, evidence, monkeypatch, capsys):
    lost = a_receipt(evidence).hold_id
    rest = [booking for booking in evidence.bookings if booking["hold_id"] != lost]
    monkeypatch.setattr(burst, "play", lambda *_: replace(evidence, bookings=rest))
    assert burst.main() == 1
    assert f"{lost} has a receipt, and no booking" in capsys.readouterr().out
    assert f"{lost} has a receipt, and no booking" in (played / "report/index.html").read_text()


def test_the_command_ends_with_2_when_there_is_nothing_to_judge(played, monkeypatch, capsys):
    monkeypatch.setenv("CROWD", "none")
    assert burst.main() == 2
    assert "CROWD=none" in capsys.readouterr().err


def test_what_the_documents_show_is_kept_when_one_asks_for_it(played, monkeypatch):
    monkeypatch.setenv("KEEP", "1")
    burst.main()
    assert ElementTree.parse(played / "kept/sale.svg").getroot().tag.endswith("svg")
    assert "| seats overbooked | **0** |" in (played / "kept/sale.md").read_text()


def test_a_picture_shows_what_was_killed_and_stays_in_its_frame(evidence):
    opens_at_s = evidence.drop.opens_at_s
    blows = [Blow(opens_at_s + 2, "Redis & its data")]
    hold = next(answer for answer in Evident(evidence).answers if answer.call == "hold seat")
    told = {"status": 403, "said": "403 sale_not_open"}
    early = msgspec.structs.replace(hold, at_s=opens_at_s - 60, **told)
    evident = Evident(replace(evidence, blows=blows, lines=[*evidence.lines, early]))
    root = ElementTree.fromstring(picture_of(evident, evident.judge()))
    words = [text.text for text in root.iter() if text.tag.endswith("text")]
    assert "1  Redis & its data, after 2.0 s" in words
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for mark in root.iter():
        assert 0 <= float(mark.get("x", 0)) <= width
        assert 0 <= float(mark.get("y", 0)) <= height


def test_the_page_about_the_burst_lists_the_parameters_as_they_are():
    rows = [
        f"| `{field.encode_name.upper()}` | `{field.default}` | {description_of(field.type)} |"
        for field in msgspec.structs.fields(Plan)
    ]
    assert "\n".join(rows) + "\n\n" in (REPOSITORY / "docs/burst.md").read_text()


def test_a_report_names_the_command_that_plays_the_same_again():
    assert command_of(Plan(keep=1)) == "make burst"
    assert command_of(Plan(crowd=50, chaos=1)) == "make burst CROWD=50 CHAOS=1"


@pytest.mark.parametrize("redis", stores.REDIS)
@pytest.mark.parametrize("mongodb", stores.MONGODB)
def test_chaos_kills_each_part_once_while_the_sale_goes_on_and_the_seed_says_when(redis, mongodb):
    plan = Plan(seed=7, redis=redis, mongodb=mongodb)
    moments = moments_of(plan)
    assert sorted(name for _, name in moments) == sorted(blows_of(plan))
    assert all(0 < after_s < plan.seconds * UNTIL for after_s, _ in moments)
    assert moments == sorted(moments) == moments_of(plan)
    assert moments != moments_of(msgspec.structs.replace(plan, seed=8))
