"""What operators and the Procfile run."""
