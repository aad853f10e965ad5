"""TicketS: the Flask service that holds, charges and books seats.

Arrows point one way: ``api`` and ``cli`` call ``use_cases``, which know only ``domain``
and the ``ports``; each module of ``stores`` is the only one that knows its outside system.
"""

__version__ = "0.1.0"
"""Of TicketS, as CHANGELOG.md has it. Nothing else repeats it."""
