"""The parts of HTTP that every route needs, whether it serves programs or people."""
