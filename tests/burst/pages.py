"""What a simulated buyer without JavaScript finds in pages: hidden fields, and the link to the
bank."""

import re
from html import unescape

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_LINK = re.compile(r"<a\b([^>]*)>")
_ELSEWHERE = re.compile(r'\bhref="(https?://[^"]+)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


def hidden_fields(page: bytes, action: str) -> dict[str, str]:
    """The hidden fields of the form with this ``action``; none when the page has no such form."""
    for attributes, content in _FORM.findall(page.decode()):
        if f'action="{action}"' in attributes:
            return {name: unescape(value) for name, value in _HIDDEN.findall(content)}
    return {}


def link_to_bank(page: bytes) -> str | None:
    """The address of the first link to another site: only the page of a payment at the bank has
    one."""
    for attributes in _LINK.findall(page.decode()):
        if found := _ELSEWHERE.search(attributes):
            return unescape(found[1])
    return None
