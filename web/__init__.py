"""TicketS: the Flask service that holds, charges and books seats.

Divided into packages, each of which imports only those below it; see docs/architecture.md.
"""

__version__ = "0.1.0"
"""The version of TicketS, the newest in CHANGELOG.md. It is defined only here."""
