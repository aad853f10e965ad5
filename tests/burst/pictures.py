"""The picture of a burst: its verdict, the seats and refusals over time, where requests ended."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.burst.diary import NOTHING, Answer
from tests.burst.endings import PARTS, where_requests_ended
from tests.burst.verdict import Evident, Look, Verdict
from tests.support.svg import INK, QUIET, RULE, Picture

WIDTH, HEIGHT = 1000, 720
MARGIN = 28

# After Okabe and Ito: colour-blind people can distinguish them. Words are beside them nevertheless.
SOLD, PAYING, HELD, FREE = "#009e73", "#e69f00", "#56b4e9", "#e8ebef"
GOOD, BAD, BAR, BLOW = "#00734f", "#b3261e", "#0072b2", "#b3261e"

STATES = (
    ("s", "sold", SOLD),
    ("p", "being paid", PAYING),
    ("h", "held", HELD),
    ("0", "free", FREE),
)

REFUSALS: tuple[tuple[str, str, Callable[[Answer], bool]], ...] = (
    ("taken or sold out", "#0072b2", lambda a: a.status == 409 and "too_many" not in a.said),
    ("over the limit", "#cc79a7", lambda a: a.status == 429),
    ("not open yet", "#8d99a6", lambda a: a.status == 403),
    ("others", "#e69f00", lambda a: a.status in (402, 409, 410)),
    ("a part is away", "#b3261e", lambda a: a.status >= 500 or a.said == NOTHING),
)
"""Each kind of answer with its colour; an answer belongs to the first kind that fits."""

BEFORE_S, AFTER_S = 2.0, 3.0
"""How much time before and after the sale is shown."""


class Frame(NamedTuple):
    """The position of a panel with a time axis, and the ranges of its axes."""

    x: float
    y: float
    width: float
    height: float
    first_s: float
    last_s: float
    most: float

    def at(self, second: float, value: float) -> tuple[float, float]:
        share = (second - self.first_s) / (self.last_s - self.first_s)
        return self.x + self.width * share, self.y + self.height * (1 - value / self.most)


def picture_of(evident: Evident, verdict: Verdict) -> str:
    plan = evident.evidence.drop.plan
    bots = plan.bots + plan.sweepers
    title = f"{plan.crowd:,} people and {bots} bots want {verdict.seats:,} seats"
    picture = Picture(WIDTH, HEIGHT, title)
    picture.text(MARGIN, 44, title, size=24, bold=True)
    picture.text(MARGIN, 67, _subtitle(evident, verdict), size=14, ink=QUIET)
    _tiles(picture, verdict)
    panel_width = (WIDTH - 3 * MARGIN) / 2
    _seats_panel(picture, evident, MARGIN, panel_width, verdict)
    _refusals_panel(picture, evident, 2 * MARGIN + panel_width, panel_width)
    _endings_panel(picture, evident)
    return str(picture)


def _subtitle(evident: Evident, verdict: Verdict) -> str:
    parts = [f"{verdict.requests:,} requests, {verdict.refusals:,} of them refused"]
    if verdict.taken_after_s is not None:
        parts.append(f"all seats taken after {verdict.taken_after_s:.1f} s")
    if verdict.sold_after_s is not None:
        parts.append(f"sold out after {verdict.sold_after_s:.0f} s")
    if verdict.at_bank.asked:
        parts.append(f"{verdict.at_bank.asked:,} asked by their bank")
    if evident.evidence.blows:
        parts.append(f"{len(evident.evidence.blows)} parts killed")
    return " · ".join(parts)


def _tiles(picture: Picture, verdict: Verdict) -> None:
    tiles = [(f"{verdict.sold:,}", "seats sold", INK)]
    tiles += [
        (f"{zero.count:,}", zero.name, BAD if zero.cases else GOOD) for zero in verdict.zeros[:4]
    ]
    bots = verdict.bots
    tiles.append((f"{bots.requests:.0%} → {bots.seats:.0%}", "bots: requests → seats", INK))
    step = (WIDTH - 2 * MARGIN) / len(tiles)
    for number, (figure, words, ink) in enumerate(tiles):
        x = MARGIN + number * step
        picture.text(x, 116, figure, size=28, ink=ink, bold=True)
        picture.text(x, 136, words, size=13, ink=QUIET)


# ---------------------------------------------------------------- over time


def _seats_panel(
    picture: Picture, evident: Evident, x: float, width: float, verdict: Verdict
) -> None:
    frame = _frame(evident, x, width, verdict.seats)
    _axes(picture, frame, "Seats")
    _key(picture, frame, [(words, ink) for _, words, ink in STATES])
    opens_at_s = evident.evidence.drop.opens_at_s
    for run in _runs(evident.evidence.looks):
        seconds = [look.at_s - opens_at_s for look in run]
        shown = [
            (second, look.states)
            for second, look in zip(seconds, run, strict=True)
            if frame.first_s <= second <= frame.last_s
        ]
        below = [0] * len(shown)
        for state, _, ink in STATES:
            above = [low + states[state] for low, (_, states) in zip(below, shown, strict=True)]
            edge = [frame.at(s, high) for (s, _), high in zip(shown, above, strict=True)]
            back = [frame.at(s, low) for (s, _), low in zip(shown, below, strict=True)]
            if shown:
                picture.area([*edge, *reversed(back)], ink)
            below = above
    _blows(picture, evident, frame)


def _runs(looks: Sequence[Look]) -> list[list[Look]]:
    """Consecutive looks without gaps: while Redis was down there is nothing to draw."""
    runs: list[list[Look]] = [[]]
    for look in looks:
        if look.states:
            runs[-1].append(look)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _refusals_panel(picture: Picture, evident: Evident, x: float, width: float) -> None:
    opens_at_s = evident.evidence.drop.opens_at_s
    seconds: dict[int, Counter[int]] = {}
    for answer in evident.answers:
        kind = next((n for n, (_, _, fits) in enumerate(REFUSALS) if fits(answer)), None)
        if kind is not None:
            second = int((answer.at_s - opens_at_s) // 1)
            seconds.setdefault(second, Counter())[kind] += 1
    seen = set().union(*seconds.values()) if seconds else set()
    most = max((sum(kinds.values()) for kinds in seconds.values()), default=1)
    frame = _frame(evident, x, width, most)
    _axes(picture, frame, "Refusals, by the second of the request")
    _key(picture, frame, [REFUSALS[kind][:2] for kind in sorted(seen)])
    for second, kinds in seconds.items():
        if not frame.first_s <= second < frame.last_s:
            continue
        below = 0
        for kind, (_, ink, _) in enumerate(REFUSALS):
            if kinds[kind]:
                left, top = frame.at(second, below + kinds[kind])
                right, bottom = frame.at(second + 1, below)
                picture.rectangle(left, top, right - left - 1, bottom - top, ink)
                below += kinds[kind]
    _blows(picture, evident, frame)


def _frame(evident: Evident, x: float, width: float, most: float) -> Frame:
    last_s = evident.evidence.drop.plan.seconds
    if sold_after_s := evident.first_look("s"):
        last_s = max(last_s, sold_after_s)
    return Frame(x, 222, width, 194, -BEFORE_S, last_s + AFTER_S, most)


def _axes(picture: Picture, frame: Frame, title: str) -> None:
    picture.text(frame.x, frame.y - 42, title, size=15, bold=True)
    for value in (0, frame.most):
        _, y = frame.at(0, value)
        picture.line(frame.x, y, frame.x + frame.width, y, RULE)
    picture.text(
        frame.x + frame.width, frame.y - 6, f"{frame.most:,.0f}", ink=QUIET, size=12, anchor="end"
    )
    step = next(s for s in (5, 10, 30, 60, 300, 600) if s * 8 >= frame.last_s)
    for second in range(0, int(frame.last_s), step):
        x, y = frame.at(second, 0)
        picture.line(x, y, x, y + 5, QUIET)
        label = f"{second} s" if second else "opens"
        picture.text(x, y + 19, label, size=12, ink=QUIET, anchor="middle")


def _key(picture: Picture, frame: Frame, entries: Sequence[tuple[str, str]]) -> None:
    """The legend. A letter is about six units wide at this size."""
    x, y = frame.x, frame.y - 23
    for words, ink in entries:
        picture.rectangle(x, y - 9, 10, 10, ink)
        picture.text(x + 14, y, words, size=11, ink=QUIET)
        x += 24 + 5.4 * len(words)


def _blows(picture: Picture, evident: Evident, frame: Frame) -> None:
    """Numbered lines, which the list below explains."""
    for number, blow in enumerate(evident.evidence.blows, 1):
        x, _ = frame.at(blow.at_s - evident.evidence.drop.opens_at_s, 0)
        picture.line(x, frame.y, x, frame.y + frame.height, BLOW, "3 3")
        picture.text(x + 2, frame.y + 11, str(number), size=11, ink=BLOW, bold=True)


# ---------------------------------------------------------------- where requests ended


def _endings_panel(picture: Picture, evident: Evident) -> None:
    ended = where_requests_ended(evident.answers, evident.evidence.refused_by_limiter)
    blows = evident.evidence.blows
    y = 486
    picture.text(MARGIN, y - 16, "Where requests ended", size=15, bold=True)
    rows = [(part, ended[part]) for part in PARTS if ended[part]]
    step = min(24, (HEIGHT - 16 - y) / max(1, len(rows)))
    bars_x, bars_width = MARGIN + 220, 330 if blows else 620
    most = max((count for _, count in rows), default=1)
    for number, (part, count) in enumerate(rows):
        top = y + number * step
        picture.text(bars_x - 10, top + step * 0.6, part, size=13, anchor="end")
        length = bars_width * count / most
        picture.rectangle(bars_x, top + 2, max(1, length), step * 0.66, BAR)
        picture.text(bars_x + length + 8, top + step * 0.6, f"{count:,}", size=13, ink=QUIET)
    for number, blow in enumerate(blows, 1):
        if number == 1:
            picture.text(690, y - 16, "Killed with SIGKILL", size=15, bold=True)
        after_s = blow.at_s - evident.evidence.drop.opens_at_s
        text = f"{number}  {blow.what}, after {after_s:.1f} s"
        picture.text(690, y + 14 + (number - 1) * 24, text, size=13)
