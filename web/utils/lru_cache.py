"""A bounded cache."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """Keeps at most ``max_size`` values by name; the least recently used one is evicted first."""

    def __init__(self, max_size: int):
        self._max_size = max_size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def names(self) -> list[str]:
        return list(self._values)

    def get(self, name: str) -> Value | None:
        try:
            self._values.move_to_end(name)
            return self._values[name]
        except KeyError:
            return None

    def put(self, name: str, value: Value) -> None:
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._max_size:
            self._values.popitem(last=False)

    def forget(self, name: str) -> None:
        self._values.pop(name, None)
