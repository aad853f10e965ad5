"""Of use to any program: nothing here knows TicketS."""
