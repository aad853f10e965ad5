"""Redis: who may try."""
