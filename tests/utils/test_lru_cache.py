from web.utils.lru_cache import LRUCache


def test_what_was_not_used_for_longest_goes_first():
    memory = LRUCache(3)
    for name in "abc":
        memory.put(name, name.upper())
    assert memory.get("a") == "A"
    memory.put("b", "another B")
    memory.put("d", "D")
    assert [memory.get(name) for name in "abcd"] == ["A", "another B", None, "D"]
    assert len(memory) == 3


def test_what_is_forgotten_makes_room():
    memory = LRUCache(1)
    memory.put("a", "A")
    memory.forget("a")
    memory.forget("never there")
    assert memory.get("a") is None
    assert len(memory) == 0
