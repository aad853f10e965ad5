"""The commands that operators and the Procfile run."""
