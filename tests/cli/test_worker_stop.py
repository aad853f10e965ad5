"""The worker ends on SIGTERM at any moment."""

import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from web.worker import Stop


@pytest.fixture
def stop() -> Iterator[Stop]:
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = Stop()
    stop.listen()
    yield stop
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_step_of_a_wait_ends_it(stop, number):
    def at_each_step(_frame, _event, _argument):
        signal.raise_signal(number)
        return at_each_step

    former = sys.gettrace()
    sys.settrace(at_each_step)
    try:
        stop.wait(60)
    finally:
        sys.settrace(former)
    assert stop.is_requested()


def test_a_signal_while_the_worker_sleeps_ends_the_wait_soon(stop):
    main = threading.main_thread().ident
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGTERM)).start()
    began_s = time.monotonic()
    stop.wait(60)
    assert time.monotonic() - began_s < 30


def test_when_nobody_asks_the_wait_is_as_long_as_it_was_told():
    began_s = time.monotonic()
    stop = Stop()
    stop.wait(0.12)
    assert time.monotonic() - began_s >= 0.12
    assert not stop.is_requested()
