"""Who waits for work hears of it; who was still looking when it was made does not miss it."""

import threading
import time

from offtake.store.wakeup import WakeUp


def test_a_ring_ends_the_wait_of_everybody() -> None:
    bell = WakeUp()
    waiting = [threading.Thread(target=bell.wait, args=(bell.generation, 60)) for _ in range(3)]
    for one in waiting:
        one.start()
    bell.notify()
    for one in waiting:
        one.join(10)
        assert not one.is_alive()


def test_a_ring_before_the_wait_counts() -> None:
    bell = WakeUp()
    seen = bell.generation
    bell.notify()
    began = time.monotonic()
    bell.wait(seen, 60)
    assert time.monotonic() - began < 30


def test_without_a_notification_the_wait_still_ends() -> None:
    bell = WakeUp()
    bell.wait(bell.generation, 0.01)
