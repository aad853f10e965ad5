"""What was tried, as data. Each entry is named, written out, and says what has to become of it."""
