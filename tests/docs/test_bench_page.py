"""What the documents show of the bench is what was measured."""

import re

from ops.servers import REPOSITORY
from tests.bench.figures import per_second, processor_us
from tests.bench.report import Report, number_of

KEPT = REPOSITORY / "docs/bench"
REPORT = Report.read((KEPT / "bench.json").read_bytes())


def test_the_page_and_the_picture_are_those_of_the_figures():
    assert (KEPT / "bench.md").read_text() == REPORT.markdown(), "run `make bench KEEP=1`"
    assert (KEPT / "bench.svg").read_text() == REPORT.svg(), "run `make bench KEEP=1`"


def test_the_readme_quotes_the_medians_of_the_last_bench():
    _, _, section = (REPOSITORY / "README.md").read_text().partition("## How fast")
    quoted = re.findall(r"^\| (.+) \| ([\d,.]+) µs \| ([\d,]+) \|$", section, re.MULTILINE)
    assert quoted
    for path, *quotes in quoted:
        spreads = [REPORT.figures.spread(path, read) for read in (processor_us, per_second)]
        assert quotes == [number_of(spread.middle) for spread in spreads], path
