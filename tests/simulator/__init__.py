"""Deterministic simulation: thousands of small sales in which two or three things go wrong at once.

The use cases, the scripts of ``lua/``, the store that calls them and Redis are real. MongoDB and
the gateway are test doubles at their ports, which pass the same tests as the real adapters. Time is
simulated: an hour takes milliseconds, and the same plan always gives the same run.

    plans.py        the parts of a plan: who buys when, and what goes wrong
    chance.py       generates the plan of a seed
    scheduler.py    processes that take turns, and their clocks
    wires.py        calls to Redis, MongoDB and the gateway: slow, late, lost
    gateway.py, bookings.py, redis_memory.py    these three parties
    troubles.py     injects the faults of a plan
    world.py        runs a plan
    rules.py        what must hold, whatever goes wrong
    story.py        what happened, for people
    shrinking.py    shortens a plan that breaks a rule
    hunting.py      runs many plans

``make simulate SEED=4716`` describes one run, ``make simulate MINUTES=60`` looks for others.
"""
