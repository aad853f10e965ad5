"""General-purpose: nothing here knows TicketS."""
