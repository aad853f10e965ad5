"""TicketS: the Flask service that holds, charges and books seats.

Divided into rooms, of which each knows only those below it; docs/architecture.md has them.
"""

__version__ = "0.1.0"
"""The version of TicketS, the newest in CHANGELOG.md. It is defined only here."""
