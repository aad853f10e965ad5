"""What was tried against TicketS, and what must become of it.

Slowing everybody down:

- ``test_costly_requests``: what takes long to parse, in every field and body, on every route.
- ``test_floods``: four clients within their limit, the costliest request of each route, and what
  others wait; ``make attack`` has the figures.
- ``test_health_flood``: health checks, which nobody counts, as fast as they go.
- ``test_slow_clients``: clients that send or read a byte at a time, to keep all connections.
- ``test_one_network``: a hall held unpaid from the thousands of clients of one IPv6 network.
- ``test_event_files``: files of events that take gigabytes to parse, or whose refusal is jargon.

Being somebody else:

- ``test_forged_addresses``: headers that claim to be another client.
- ``test_forged_secrets``: tokens, addresses, cookies and signatures that are made up or stolen.
- ``test_forged_words``: what servers say to each other, said by a client; ``corpora/headers``.
- ``test_cross_site``: all that a page of another website can send, in a real browser.
- ``test_secrets_in_logs``: reading in a log what opens a ticket.

Being misunderstood:

- ``test_framing``: requests hidden in others, and bodies that end elsewhere than they say;
  ``corpora/framing``.
- ``test_spellings``: other spellings of our addresses.
- ``test_paths``: what no path may lead to; ``corpora/paths``.
- ``test_injections``: texts that are code to a browser, a database, a log; ``corpora/texts``.
- ``test_odd_headers``: header fields and bodies that no client sends.
- ``test_unreadable_requests``: what is no request, as often as one likes.
- ``test_nginx_statuses``: every error that nginx makes by itself.
"""
