"""A payment provider for a developer's machine: Stripe's PaymentIntents calls, answered by a
separate process with a ledger of its own.

    python -m ops.sandbox

It speaks API version 2026-10-28.endive as far as taking a card payment and giving it back goes:
create, confirm, capture, cancel, retrieve and list PaymentIntents, refund one in whole or in part
and list refunds, create test ConfirmationTokens and retrieve them. It has Stripe's test cards, by
the names of their payment methods (``cards.py``) and by number (``card_details.py``), idempotency
keys, and error objects with Stripe's texts (https://docs.stripe.com/api). With ``--webhook-url`` it
sends webhooks (``webhooks.py``), with ``--rate-limit 25`` it answers no more calls of one endpoint
a second than Stripe (``rate_limit.py``).

A card whose owner has to confirm the payment brings its intent to ``requires_action``. On another
port, which is another origin, is the bank that asks the owner (``bank.py``, ``authentication.py``).

What Stripe refuses is refused here: unknown and wrong parameters, combinations of them that
exclude each other, amounts, a PaymentMethod that was charged before, what the state of an intent
does not allow, keys, versions. These parts of Stripe are missing, and answered with a refusal or
404:

- billing details; ``off_session`` and ``request_three_d_secure``; what the SDK of a browser or a
  phone gets in ``next_action``, which Stripe does not document: here it is the address of the page
- customers and everything attached to them; payment methods other than cards; calls of
  PaymentMethods themselves
- ``update``, ``search`` and ``increment_authorization``; captures in several parts; disputes
- versions of the API before October 2024, and the differences between later ones
- the limit on all calls of an account together, and the hourly limit for one intent
- a dashboard: the ``request_log_url`` of errors does not work

A parameter that Stripe has and the sandbox does not is refused, and the refusal names it.

A call goes through four steps, in ``app.py``, ``calls.py`` and ``idempotency.py``:

1. validate: a bad parameter is refused and nothing is stored;
2. wait: as long as the card takes; that the key is under way is stored only in memory;
3. commit: the effect and the answer, in one SQLite transaction;
4. deliver: send the committed answer (``calls.deliver``).

A process that is killed has therefore done a call completely or not at all, and its keys are free
when it is back. Faults are injected between these steps: ``faults.py`` defines them, and
``control.py`` has the calls that set them, and that say what the bank does.
"""
