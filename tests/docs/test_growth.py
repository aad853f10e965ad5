"""What docs/bench shows of growth is what was measured."""

import json
import re

from tests.bench.growth import FIGURES, FOLDER, charts, picture

REPORT = json.loads(FIGURES.read_text())


def test_the_pictures_are_those_of_the_figures():
    for name, chart in charts(REPORT).items():
        assert picture(name).read_text() == chart.svg(), f"{name}: run `make growth`"


def test_the_page_shows_each_picture():
    page = (FOLDER / "growth.md").read_text()
    shown = re.findall(r"\]\((growth_\w+\.svg)\)", page)
    assert sorted(shown) == sorted(picture(name).name for name in charts(REPORT))
