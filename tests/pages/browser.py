"""A browser without JavaScript: it knows HTML and nothing of the application. A form is sent as it
stands in the page, with what a buyer changed in it."""

import itertools
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

TIMEOUT_S = 15

HTML = {"Accept": "text/html"}
"""What makes a program look like a browser."""

_VOID = {"input", "br", "meta", "link", "line", "rect", "path", "hr", "img"}
_addresses = itertools.count(1)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What a screen reader would read, spaces as one."""
        return " ".join(self._raw_text().split())

    def _raw_text(self) -> str:
        return "".join(c if isinstance(c, str) else c._raw_text() for c in self.children)

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    def all(self, *tags: str, **attributes: str) -> list["Element"]:
        """In document order; without tags any."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if (not tags or child.tag in tags) and all(
                    child[name.rstrip("_").replace("_", "-")] == value
                    for name, value in attributes.items()
                ):
                    found.append(child)
                found += child.all(*tags, **attributes)
        return found

    def one(self, *tags: str, **attributes: str) -> "Element":
        (found,) = self.all(*tags, **attributes)
        return found


def csrf_token_in(text: str) -> str:
    return text.partition('name="csrf_token" value="')[2].partition('"')[0]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag, attributes):
        element = Element(tag, dict(attributes))
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self._open[-1].children.append(Element(tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
            self._open.pop()

    def handle_data(self, data):
        self._open[-1].children.append(data)


class Page:
    def __init__(self, browser: "Browser", answer: requests.Response):
        self.browser, self.answer = browser, answer
        self.status, self.headers = answer.status_code, answer.headers
        self.address = urlsplit(answer.url).path
        parser = _Parser()
        parser.feed(answer.text)
        parser.close()
        self.root = parser.root

    @property
    def text(self) -> str:
        return self.root.one("main").text

    @property
    def title(self) -> str:
        return self.root.one("h1").text

    def link(self, text: str) -> "Page":
        """Follow the first link with this text."""
        link = next(a for a in self.root.all("a") if text in a.text)
        return self.browser.get(urljoin(self.answer.url, link["href"]))

    def seat_boxes(self) -> dict[str, Element]:
        """What a seat's label says, and its check box."""
        return {label.text: label.one("input") for label in self.root.all("label", class_="seat")}

    def form(self, button: str) -> Element:
        """The form that has this button."""
        return next(
            form
            for form in self.root.all("form")
            if any(button in b.text for b in form.all("button"))
        )

    def fields(self, button: str) -> list[tuple[str, str]]:
        """The fields that the form sends when nothing is changed."""
        sent = []
        for element in self.form(button).all("input", "select"):
            if "disabled" in element or not element["name"]:
                continue
            if element.tag == "select":
                options = element.all("option")
                chosen = next((o for o in options if "selected" in o), options[0])
                sent.append((element["name"], chosen["value"] or chosen.text))
            elif element["type"] not in ("checkbox", "radio") or "checked" in element:
                sent.append((element["name"], element["value"]))
        return sent

    def send(self, button: str, **changes: str | list[str]) -> requests.Response:
        """Press the button, with other values in some of the form's fields; not followed."""
        fields = [(name, value) for name, value in self.fields(button) if name not in changes]
        for name, value in changes.items():
            fields += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        action = urljoin(self.answer.url, self.form(button)["action"])
        return self.browser.post(action, fields)

    def press(self, button: str, **changes: str | list[str]) -> "Page":
        """Press the button and go where it leads."""
        answer = self.send(button, **changes)
        if answer.status_code != 303:
            return Page(self.browser, answer)
        return self.browser.get(urljoin(answer.url, answer.headers["Location"]))


class Browser(requests.Session):
    """A browser with a new address, given to the local nginx as a load generator does."""

    def __init__(self, base_url: str, language: str = "en-GB"):
        super().__init__()
        self.trust_env = False
        self.base_url = base_url
        self.move()
        self.headers.update(
            {
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
                "Accept-Language": language,
            }
        )

    def move(self) -> None:
        """To an IP address that has sent no request yet."""
        number = next(_addresses)
        self.headers["X-Forwarded-For"] = f"198.19.{number // 250}.{number % 250 + 1}"

    def get(self, address: str) -> Page:
        return Page(self, self._patiently("GET", address))

    def post(self, address: str, fields: list[tuple[str, str]]) -> requests.Response:
        return self._patiently("POST", address, data=fields, allow_redirects=False)

    def _patiently(self, method: str, address: str, **options) -> requests.Response:
        """Waits where the rate limit refuses. A test that sends many requests calls ``move``
        instead."""
        url = urljoin(self.base_url, address)
        while True:
            answer = self.request(method, url, timeout=TIMEOUT_S, **options)
            if answer.status_code != 429:
                return answer
            time.sleep(int(answer.headers["Retry-After"]))
