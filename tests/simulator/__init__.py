"""Thousands of small sales in which two and three things go wrong at once.

Real are the use cases, the scripts of ``lua/``, the store that calls them and a Redis. MongoDB and
the gateway are doubles at their ports; the same tests hold them to the real ones. Time is
simulated: an hour takes milliseconds, and a run is the same whenever its plan is.

    plans.py        what happens in a run: who buys when, and what goes wrong
    chance.py       a plan for each seed
    scheduler.py    processes that take turns, and their clocks
    wires.py        calls of Redis, MongoDB and gateway: slow, late, lost
    gateway.py, bookings.py, redis_memory.py    the three
    troubles.py     what goes wrong, and when
    world.py        one run of a plan
    rules.py        what must hold, whatever goes wrong
    story.py        what happened, for people
    shrinking.py    a plan that breaks a rule, as short as it can be
    hunting.py      many runs

``make simulate SEED=4716`` tells one run, ``make simulate MINUTES=60`` looks for others.
"""
