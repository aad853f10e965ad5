"""QR codes, for a phone or for the scanner at the door."""

import io
from functools import lru_cache

import segno
from markupsafe import Markup

MASK = 3
"""Of the eight that a QR code may have, all equally valid. Finding the one with the fewest patterns
that could confuse a scanner takes four times as long as the rest, and the receipt of 50 seats has
51 codes. What we encode is mostly signatures, which look like noise under each mask."""


@lru_cache(maxsize=1000)  # 3 ms and some 5 KB each: a page that is loaded again costs it once
def qr_code(text: str, title: str) -> Markup:
    """As an SVG element; ``title`` is its accessible name. Error correction level M tolerates
    damage to a seventh of the code."""
    svg = io.BytesIO()
    segno.make(text, error="m", micro=False, mask=MASK).save(
        svg,
        kind="svg",
        xmldecl=False,
        svgns=False,
        svgclass="qr",
        lineclass=None,
        omitsize=True,
        border=4,
        light="#fff",
        title=title,
    )
    return Markup(svg.getvalue().decode())  # noqa: S704 - segno escapes the title


def qr_code_png(text: str) -> bytes:
    """For mail programs, which show no SVG: as ``qr_code``, six pixels a module."""
    png = io.BytesIO()
    segno.make(text, error="m", micro=False, mask=MASK).save(
        png, kind="png", scale=6, border=4, light="#fff"
    )
    return png.getvalue()
