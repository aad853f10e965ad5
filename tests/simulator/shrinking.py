"""The shortest part of a plan that still breaks the rule: delta debugging.

Andreas Zeller and Ralf Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE
Transactions on Software Engineering 28 (2002).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shrunk(items: Sequence[Item], still_fails: Callable[[list[Item]], bool]) -> list[Item]:
    """A subsequence of ``items`` that still fails, but no longer does without any single item."""
    items, size = list(items), len(items)
    while size:
        first, left_out = 0, False
        while first < len(items):
            fewer = items[:first] + items[first + size :]
            if still_fails(fewer):
                items, left_out = fewer, True
            else:
                first += size
        if size == 1 and not left_out:
            break
        size = max(1, size // 2) if not left_out or size > 1 else 1
    return items
