"""The HTTP server inside each of gunicorn's web processes. docs/server.md describes it."""
