"""A payment provider for a developer's machine: Stripe's PaymentIntents calls, answered by a
separate process with a ledger of its own.

    python -m ops.sandbox

It speaks API version 2026-10-28.endive as far as taking a card payment and giving it back goes:
create, confirm, capture, cancel, retrieve and list PaymentIntents, refund all of one and list
refunds, with Stripe's test payment methods (``cards.py``), error objects and idempotency keys
(https://docs.stripe.com/api). With ``--webhook-url`` it tells what has happened (``webhooks.py``).

A call goes through four steps, in ``app.py``, ``calls.py`` and ``idempotency.py``:

1. validate: a bad parameter is refused and leaves no trace;
2. wait: as long as the card takes; the key is under way, which only memory knows;
3. commit: the effect and the answer, in one SQLite transaction;
4. deliver: send the committed answer (``calls.deliver``).

A process that is killed therefore either did all of a call or nothing, and its keys are free
again when it is back. A provider that misbehaves does so between these steps: ``faults.py`` says
how, ``control.py`` how to ask for it.
"""
