"""The HTTP contract for programs: ``docs/api.md``."""
