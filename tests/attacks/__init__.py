"""What was tried against TicketS, and what must become of it.

- ``test_forged_addresses``: headers that claim to be another client.
- ``test_forged_secrets``: tokens, addresses, cookies and signatures that are made up or stolen.
- ``test_framing``: requests hidden in others, and bodies that end elsewhere than they say;
  ``corpora/framing`` has the bytes.
"""
