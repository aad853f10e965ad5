"""The hidden fields of a form, which a simulated buyer without JavaScript needs."""

import re
from html import unescape

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


def hidden_fields(page: bytes, action: str) -> dict[str, str]:
    """The hidden fields of the form with this ``action``; none when the page has no such form."""
    for attributes, content in _FORM.findall(page.decode()):
        if f'action="{action}"' in attributes:
            return {name: unescape(value) for name, value in _HIDDEN.findall(content)}
    return {}
