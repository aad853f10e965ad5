"""A payment provider for a developer's machine: Stripe's PaymentIntents calls, answered by a
separate process with a ledger of its own.

    python -m ops.sandbox

It speaks API version 2026-10-28.endive as far as taking a card payment and giving it back goes:
create, confirm, capture, cancel, retrieve and list PaymentIntents, refund one in whole or in part
and list refunds, with Stripe's test payment methods (``cards.py``), idempotency keys, and error
objects in Stripe's words (https://docs.stripe.com/api). With ``--webhook-url`` it tells what has
happened (``webhooks.py``), with ``--rate-limit 25`` it answers no more calls of one endpoint a
second than Stripe (``rate_limit.py``).

What Stripe refuses is refused here: unknown and wrong parameters, combinations of them that
exclude each other, amounts, a PaymentMethod that was charged before, what the state of an intent
does not allow, keys, versions. Of what Stripe takes this is missing, and refused or not found:

- cards whose bank asks: there is no page to confirm on, so ``requires_action`` has no end but to
  cancel, and no ``return_url`` leads anywhere; ConfirmationTokens
- customers and whatever is attached to them; other payment methods than cards; calls of
  PaymentMethods themselves
- ``update``, ``search`` and ``increment_authorization``; captures in several parts; disputes
- versions of the API before October 2024, and the differences between those since
- the limit on all calls of an account together, and on what one intent takes in an hour
- a dashboard: errors have a ``request_log_url``, which leads nowhere

A parameter that Stripe has and the sandbox has not is refused by name.

A call goes through four steps, in ``app.py``, ``calls.py`` and ``idempotency.py``:

1. validate: a bad parameter is refused and leaves no trace;
2. wait: as long as the card takes; the key is under way, which only memory knows;
3. commit: the effect and the answer, in one SQLite transaction;
4. deliver: send the committed answer (``calls.deliver``).

A process that is killed therefore either did all of a call or nothing, and its keys are free
again when it is back. A provider that misbehaves does so between these steps: ``faults.py`` says
how, ``control.py`` how to ask for it.
"""
