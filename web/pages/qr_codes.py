"""Pictures that a telephone or the door reads."""

import io

import segno
from markupsafe import Markup


def qr_code(text: str, title: str) -> Markup:
    """As an SVG element; ``title`` says what it is. Error correction M: a crease or a scratch of a
    seventh of it is read over."""
    svg = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
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
    return Markup(svg.getvalue().decode())
