"""Connections and requests are limited by address; a new connection closes the one that was idle longest."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.api.serving.limits import ConnectionCounts, Limits, limits_of
from offtake.api.serving.protocol import is_signed
from offtake.settings import Settings


@dataclass(eq=False)
class Held:
    """A connection that remembers whether it was dropped."""

    group: str
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


def counts(connections: int = 4, of_one: int = 2, requests: int = 2) -> ConnectionCounts:
    return ConnectionCounts(Limits(connections, of_one, requests, requests_of_one=1, head_seconds=1, body_seconds=1))


def enter(found: ConnectionCounts, group: str) -> Held:
    made = Held(group)
    found.enter(made, group)
    return made


def test_a_new_connection_takes_the_place_of_the_one_that_has_been_idle_longest() -> None:
    found = counts()
    first, second, other = enter(found, "a"), enter(found, "a"), enter(found, "b")
    assert found.begin(first, "a", "a") is None
    found.end(first, "a", "a")
    enter(found, "a")
    assert (first.dropped, second.dropped, other.dropped) == (False, True, False)


def test_connections_with_a_request_are_never_dropped() -> None:
    found = counts()
    busy, idle = enter(found, "a"), enter(found, "a")
    assert found.begin(busy, "a", "a") is None
    enter(found, "a")
    assert (busy.dropped, idle.dropped) == (False, True)


def test_when_all_together_have_too_many_the_address_with_the_most_makes_room() -> None:
    found = counts(connections=3)
    many, few = enter(found, "a"), enter(found, "b")
    enter(found, "a")
    enter(found, "c")
    assert (many.dropped, few.dropped) == (True, False)


def test_connections_of_trusted_proxies_are_not_limited_as_those_of_one_address() -> None:
    found = counts()
    held = [Held("p") for _ in range(3)]
    for one in held:
        found.enter(one, "p", shared=True)
    assert not any(one.dropped for one in held)


def test_requests_are_refused_by_address_and_in_all() -> None:
    found = counts()
    one, two, three = enter(found, "a"), enter(found, "b"), enter(found, "c")
    assert found.begin(one, "a", "a") is None
    assert found.begin(two, "b", "a") == "address"
    assert found.begin(two, "b", "b") is None
    assert found.begin(three, "c", "c") == "server"
    found.end(one, "a", "a")
    assert found.begin(three, "c", "c") is None


@pytest.mark.parametrize(
    ("path", "header", "expected"),
    [
        ("/data/x", (b"authorization", b"Bearer x"), True),
        ("/ui/prod", (b"cookie", b"a=1; offtake=x"), True),
        ("/ui/prod", (b"cookie", b"__Host-offtake=x"), True),
        ("/ui/prod", (b"cookie", b"notofftake=x; a=offtake=1"), False),
        ("/ui/prod", (b"cookie", b"offtake-zone=x"), False),
        ("/ui/sign-in", (b"cookie", b"offtake=x"), False),
        ("/ui/prod", (b"accept", b"offtake=x"), False),
    ],
)
def test_who_signs_in_does_not_count_as_signed_in(path: str, header: tuple[bytes, bytes], expected: bool) -> None:
    assert is_signed({"type": "http", "path": path, "headers": [header]}) is expected


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "begin", "end"]), st.integers(0, 7)), max_size=80))
def test_whatever_happens_no_more_is_open_or_in_flight_than_allowed(steps: list[tuple[str, int]]) -> None:
    found = counts()
    held: list[Held] = []
    busy: dict[int, bool] = {}
    for act, number in steps:
        if act == "enter":
            held.append(enter(found, "abc"[number % 3]))
        elif number < len(held) and not held[number].dropped:
            one = held[number]
            if act == "begin" and not busy.get(number):
                busy[number] = found.begin(one, one.group, one.group) is None
            elif act == "end" and busy.pop(number, False):
                found.end(one, one.group, one.group)
            elif act == "leave" and not busy.get(number):
                found.leave(one, one.group)
                one.dropped = True
        alive = [one for one in held if not one.dropped]
        assert len(alive) <= 4
        assert all(sum(one.group == group for one in alive) <= 2 for group in "abc")
        assert sum(busy.values()) <= 2


@pytest.mark.parametrize(("descriptors", "connections", "requests"), [(256, 128, 64), (1024, 512, 256)])
def test_limits_follow_the_file_descriptors(descriptors: int, connections: int, requests: int) -> None:
    found = limits_of(Settings(), descriptors)
    assert (found.connections, found.requests) == (connections, requests)
    assert limits_of(Settings(open_connections=10**6), descriptors).connections == connections
    assert limits_of(Settings(concurrent_requests=10**6), descriptors).requests == requests
    assert limits_of(Settings(), 10**6).connections == 4096
