"""The texts for problems that can occur on any page; nginx uses the same for its own
(ops/nginx/problems.py)."""

from typing import NamedTuple

NEVER_TWICE = "If you were paying, that is safe: you are never charged twice."

ALL_KEPT = "What you hold and what you have bought is kept."


class PageWords(NamedTuple):
    heading: str
    paragraphs: tuple[str, ...]


NOTHING_THERE = PageWords(
    "This page does not exist",
    ("The address may be mistyped, or what was here is no longer on sale.",),
)

NOT_READ = PageWords("We could not read that", ("It did nothing, and nothing was charged by it.",))

OUR_MISTAKE = PageWords(
    "Something went wrong on our side",
    (
        (
            "If you were paying, look into your basket: it shows whether the payment went through. "
            "You are never charged twice."
        ),
    ),
)


def too_many_requests(wait: str) -> PageWords:
    """``wait`` is how long to wait, such as "a moment"."""
    return PageWords(
        "Too many requests at once",
        (
            (
                "Too many requests came from your connection, which others may share. Wait "
                f"{wait}, then load the page again. {NEVER_TWICE}"
            ),
            "Seats that you hold stay yours meanwhile, until their time is over.",
        ),
    )


def back_soon(happened: str, wait: str, again: str, kept: str) -> PageWords:
    """``happened`` and ``kept`` are sentences, ``again`` is what to do after ``wait``."""
    return PageWords(
        "We are back in a moment", (f"{happened} Wait {wait}, then {again}. {NEVER_TWICE}", kept)
    )
