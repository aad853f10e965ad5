"""Reports of the verdict: for the terminal, as a page with pictures, and for docs/burst/."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.burst.gateway_queue import GatewayQueue
from tests.burst.pictures import picture_of
from tests.burst.plan import Plan
from tests.burst.verdict import PERCENTILES, AtDoors, Evident, Verdict
from tests.support.machine import machine

CASES_SHOWN = 10
"""How many cases of a broken promise are listed; more of them usually have the same cause."""

SATURATED = 0.9
"""From this share of a core on, a load generator measures mainly its own delays."""


def command_of(plan: Plan) -> str:
    """The command that runs the same burst again."""
    default = Plan()
    given = [
        f" {name.upper()}={getattr(plan, name)}"
        for name in Plan.__struct_fields__
        if getattr(plan, name) != getattr(default, name) and name != "keep"
    ]
    return "make burst" + "".join(given)


def figures_of(verdict: Verdict) -> list[tuple[str, str]]:
    def after(seconds: float | None) -> str:
        return "not by the end" if seconds is None else f"{seconds:.1f} s after the opening"

    return [
        ("seats sold", f"{verdict.sold:,} of {verdict.seats:,}"),
        ("all seats taken", after(verdict.taken_after_s)),
        ("all seats sold", after(verdict.sold_after_s)),
        ("bookings", f"{verdict.bookings:,}"),
        ("buyers who waited for the gateway", waits_of(verdict.queue)),
        ("payments sent away for a while by its queue", f"{verdict.queue.sent_away:,}"),
        ("requests", f"{verdict.requests:,}"),
        ("refusals among them", f"{verdict.refusals:,}"),
        ("payments about which a bank asked", f"{verdict.at_bank.asked:,}"),
        ("confirmed", f"{verdict.at_bank.confirmed:,}"),
        ("refused at the bank", f"{verdict.at_bank.refused:,}"),
        ("given up for another card", f"{verdict.at_bank.given_up:,}"),
        ("never answered", f"{verdict.at_bank.silent:,}"),
        ("bots' share of the requests", f"{verdict.bots.requests:.1%}"),
        ("bots' share of the seats", f"{verdict.bots.seats:.1%}"),
        *door_figures_of(verdict.doors),
    ]


def door_figures_of(doors: AtDoors) -> list[tuple[str, str]]:
    figures = [
        ("let in at the doors", f"{doors.let_in:,} of {doors.sold:,}"),
        ("scans, at two gates", f"{doors.scans:,} in {doors.took_s:.1f} s"),
        ("refused because somebody was inside already", f"{doors.inside:,}"),
        ("refused as forged or of another event", f"{doors.invalid:,}"),
        ("refused as refunded", f"{doors.refunded:,}"),
    ]
    if doors.killed:
        figures.append(("scans repeated because a part was away", f"{doors.repeated:,}"))
        figures.append(("killed meanwhile", ", ".join(doors.killed)))
    return figures


def waits_of(queue: GatewayQueue) -> str:
    if not queue.waited:
        return "0"
    return f"{queue.waited:,}, {queue.mean_s:.2f} s on average, {queue.most_s:g} s at most"


def strain_of(verdict: Verdict) -> str:
    """How much of the measured times is the load generator's own delay."""
    said = (
        f"The load generator's processes used at most {verdict.busiest:.0%} of a core each, of the "
        "cores that TicketS has too. In 95 % of all seconds they were never more than "
        f"{verdict.late_ms:.0f} ms late, which is in these times."
    )
    if verdict.busiest >= SATURATED:
        said += " THE GENERATOR WAS SATURATED: the times are its own, the counts are right."
    return said


def text_of(verdict: Verdict) -> str:
    """The report for the terminal."""
    lines = [""]
    lines += [f"  {name:<44}{value:>26}" for name, value in figures_of(verdict)]
    lines.append("")
    for zero in verdict.zeros:
        lines.append(f"  {zero.name:<44}{zero.count:>26,}{'  <- MUST BE 0' if zero.cases else ''}")
        lines += [f"      {case}" for case in zero.cases[:CASES_SHOWN]]
    percents = "".join(f"{f'{percent} %':>9}" for percent in PERCENTILES)
    lines += ["", f"  {'answers since the opening, in ms':<34}{'count':>9}{percents}{'most':>9}"]
    for times in verdict.times:
        numbers = "".join(f"{ms:>9,.0f}" for ms in (*times.percentiles_ms, times.most_ms))
        lines.append(f"  {times.name:<34}{times.count:>9,}{numbers}")
    lines += ["", f"  {strain_of(verdict)}", ""]
    lines.append("All as promised." if verdict.holds else "NOT as promised.")
    return "\n".join(lines)


NOTES = """\
Bots' shares are counted from the opening on; the times are those of people, but for the last row.
A buyer who confirmed in another browser waits for the receipt in the first, which asks every two
seconds. Who clicks twice hears twice that the seats are paid. Where parts are killed, a 503 that
says when to try again and a 504 that says that the outcome is unknown are no server errors;
elsewhere they are.

[What a burst is, and its parameters](../burst.md)
"""


def markdown_of(verdict: Verdict, plan: Plan) -> str:
    """The report for docs/burst/, as a Markdown table."""
    lines = ["# A burst" + (" with every part killed once" if plan.chaos else ""), ""]
    lines += [f"`{command_of(plan)}`, {_today()}, on {machine()}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in figures_of(verdict)]
    lines += [f"| {zero.name} | **{zero.count}** |" for zero in verdict.zeros]
    percents = " | ".join(f"{percent} %" for percent in PERCENTILES)
    lines += ["", f"| answers since the opening | count | {percents} | most |"]
    lines.append("|---|" + "---|" * (2 + len(PERCENTILES)))
    for times in verdict.times:
        numbers = " | ".join(f"{ms:,.0f} ms" for ms in (*times.percentiles_ms, times.most_ms))
        lines.append(f"| {times.name} | {times.count:,} | {numbers} |")
    return "\n".join([*lines, "", strain_of(verdict), "", NOTES])


def write_report(evident: Evident, verdict: Verdict, folder: Path) -> Path:
    """Write the page beside Locust's report, and return its path."""
    plan = evident.evidence.drop.plan
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    answers = Counter((answer.who, answer.call, answer.said) for answer in evident.answers)
    page = folder / "index.html"
    page.write_text(
        environment.get_template("report.html.j2").render(
            verdict=verdict,
            command=command_of(plan),
            when=_today(),
            machine=machine(),
            picture=picture_of(evident, verdict),
            figures=figures_of(verdict),
            percentiles=PERCENTILES,
            strain=strain_of(verdict),
            cases_shown=CASES_SHOWN,
            answers=sorted(answers.items(), key=lambda entry: (entry[0][0], -entry[1])),
            checks=[*evident.evidence.checks, *evident.evidence.door.checks],
        )
    )
    return page


def keep(evident: Evident, verdict: Verdict, folder: Path) -> None:
    """Write what docs/burst.md shows, for an ordinary burst or for one with chaos, and
    for what is kept of other kinds of Redis and MongoDB."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = evident.evidence.drop.plan
    kinds = [plan.redis] * (plan.redis != "server") + [plan.mongodb] * (plan.mongodb != "1")
    name = "-".join(["chaos" if plan.chaos else "sale", *kinds])
    (folder / f"{name}.svg").write_text(picture_of(evident, verdict))
    (folder / f"{name}.md").write_text(markdown_of(verdict, plan))


def _today() -> str:
    return f"{datetime.now(UTC):%-d %B %Y}"
