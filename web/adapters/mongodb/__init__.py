"""MongoDB: who bought."""
