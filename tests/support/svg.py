"""A picture in SVG, element by element."""

from collections.abc import Iterable, Mapping
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"

INK, QUIET, RULE, PAPER = "#1b1f24", "#59636e", "#d5dae0", "#ffffff"


class Picture:
    """``str(picture)`` is the whole document. It has a background and a border, so that it is
    readable on a dark page too. ``dark`` maps colours to their replacements in the dark scheme."""

    def __init__(
        self, width: int, height: int, description: str, dark: Mapping[str, str] | None = None
    ):
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'font-family="{FONT}"><title>{escape(description)}</title>{_style(dark or {})}'
        )
        self._marks: list[str] = []
        self.rectangle(0.5, 0.5, width - 1, height - 1, PAPER, edge=RULE, round_=8)

    def __str__(self) -> str:
        return "\n".join([self._head, *self._marks, "</svg>"]) + "\n"

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        edge: str = "none",
        round_: float = 0,
    ) -> None:
        self._marks.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'rx="{_n(round_)}" fill="{fill}" stroke="{edge}"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, ink: str, dashes: str = "") -> None:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._marks.append(
            f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" '
            f'stroke="{ink}"{dashed}/>'
        )

    def path(self, points: Iterable[tuple[float, float]], ink: str) -> None:
        """A line from point to point."""
        self._marks.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{ink}" stroke-width="2"/>'
        )

    def area(self, points: Iterable[tuple[float, float]], fill: str) -> None:
        """A filled polygon."""
        self._marks.append(f'<polygon points="{_points(points)}" fill="{fill}"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 13,
        ink: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """``y`` is the baseline of the text."""
        weight = ' font-weight="600"' if bold else ""
        self._marks.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}" fill="{ink}" '
            f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )


def _style(dark: Mapping[str, str]) -> str:
    rules = "".join(
        f'[{where}="{light}"]{{{where}:{instead}}}'
        for light, instead in dark.items()
        for where in ("fill", "stroke")
    )
    return rules and f"<style>@media(prefers-color-scheme:dark){{{rules}}}</style>"


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(number: float) -> str:
    """A coordinate, rounded to a tenth of a unit, which is finer than anybody sees."""
    return f"{number:.1f}".removesuffix(".0")
