"""Trying again: how long is waited, when it is enough, and whole runs to a server that refuses."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, CancelledError, DeliveryError
from offtake.exporting import cleanup
from offtake.exporting import run as exporting_run
from offtake.exporting.retry import DeferredError, RetryBudget, RetryPolicy, retry
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.store.tables import Run, RunPart, Watermark
from tests.cancellations import FREE, Until
from tests.conftest import NOON
from tests.deployment import Deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.middlebox import Middlebox, middlebox
from tests.scheduling.test_amazon_s3 import BUCKET, flow_to
from tests.servers import S3Server, rclone_s3

LONGEST = 300
DAY_MS = 86_400_000


def passing(
    retry_after: float | None = None, *, unreachable: bool = False, window: float | None = None
) -> DeliveryError:
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        "It is away.",
        "Wait.",
        transient=True,
        retry_after=retry_after,
        unreachable=unreachable,
        window=window,
    )


def refusal() -> DeliveryError:
    return DeliveryError(ACCESS_DENIED, "It is denied.", "Grant it.")


# Waits


@given(
    wait=st.floats(0, 1000),
    asked=st.none() | st.floats(0, 4000),
    window=st.floats(0, 1e6),
    passed=st.lists(st.floats(0, 4000), min_size=1, max_size=40),
    unreachable=st.booleans(),
    seed=st.integers(),
)
def test_waits_grow_and_end_with_the_window(
    wait: float, asked: float | None, window: float, passed: list[float], unreachable: bool, seed: int
) -> None:
    clock = FakeClock(NOON)
    ends = NOON + round(window * 1000)
    budget = RetryBudget(
        RetryPolicy(wait), clock, lambda began: began + round(window * 1000), _random=random.Random(seed)
    )
    for failed, seconds in enumerate(passed, start=1):
        left = (ends - clock.now_ms()) / 1000
        error = passing(asked, unreachable=unreachable)
        if left <= 0 or (asked or 0) > left:
            with pytest.raises(DeliveryError) as caught:
                budget.next_delay("part", error)
            assert caught.value is error if left <= 0 else "requests a wait of" in caught.value.message
            return
        waited = budget.next_delay("part", error)
        due = min(60, wait * 1.3 ** (failed - 1)) if unreachable else min(LONGEST, wait * 2 ** (failed - 1))
        assert waited <= left + 1e-6
        assert waited >= (asked or 0) - 1e-6
        assert waited == pytest.approx(left) or due / 2 - 1e-6 <= waited - (asked or 0) <= due + 1e-6
        clock.advance(seconds=seconds)


@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.booleans()), max_size=30), st.floats(1, 1e5))
def test_a_clock_that_is_set_never_makes_a_wait_longer_than_the_window(
    jumps: list[tuple[int, bool]], window: float
) -> None:
    clock = FakeClock(NOON)
    known: dict[str, list[int]] = {}
    waits: int | None = None
    for seconds, short in jumps:
        budget = RetryBudget(RetryPolicy(), clock, lambda began: began + round(window * 1000), waits, known)
        try:
            waited = budget.next_delay("plan", passing(window=120 if short else None))
        except DeliveryError:
            assert short or clock.now_ms() - (waits or NOON) >= window * 1000 - 1
        else:
            assert 0 <= waited <= min(window, 120 if short else LONGEST) + 1e-6
        known, waits = budget.to_json(), budget.waits_since_ms
        clock.set_by(seconds=seconds)


@given(st.lists(st.integers(0, 4), min_size=60, max_size=60), st.integers(1, 6), st.integers(0, 12), st.integers(1, 9))
def test_bounds_that_are_set_hold_over_all_claims_of_a_run(
    parts: list[int], attempts: int, retries: int, claimed_every: int
) -> None:
    patience = RetryPolicy(0.1, attempts, retries)
    known: dict[str, list[int]] = {}
    failed = Counter[int]()
    for number, part in enumerate(parts):
        if number % claimed_every == 0:
            budget = RetryBudget(patience, FakeClock(NOON), known=known)
        failed[part] += 1
        over = failed[part] >= attempts or failed.total() > retries
        try:
            budget.next_delay(f"part {part}", passing())
        except DeliveryError:
            assert over
            return
        assert not over
        known = json.loads(json.dumps(budget.to_json()))
    raise AssertionError("sixty failures are more than any of these bounds")


@given(st.integers(0, 3))
def test_what_does_not_pass_fails_at_once(before: int) -> None:
    budget = RetryBudget(RetryPolicy(), FakeClock(NOON))
    for _ in range(before):
        budget.next_delay("part", passing())
    error = refusal()
    with pytest.raises(DeliveryError) as caught:
        budget.next_delay("part", error)
    assert caught.value is error


@pytest.mark.parametrize("asked", [3601, 1e300, float("inf")])
def test_a_server_that_asks_for_more_than_the_window_ends_the_run_and_the_error_says_so(asked: float) -> None:
    budget = RetryBudget(RetryPolicy(), FakeClock(NOON), lambda began: began + 3_600_000)
    with pytest.raises(DeliveryError, match="requests a wait of") as caught:
        budget.next_delay("part", passing(asked))
    assert not caught.value.transient


def test_a_failure_after_progress_begins_a_wait_of_its_own() -> None:
    clock = FakeClock(NOON)
    budget = RetryBudget(RetryPolicy(), clock, lambda began: began + 3_600_000)
    budget.next_delay("part 1", passing())
    clock.advance(seconds=59 * 60)
    assert budget.ends_ms == NOON + 3_600_000
    budget.note_progress()
    clock.advance(hours=5)
    assert budget.next_delay("part 2", passing()) > 0
    assert budget.ends_ms == NOON + (5 * 60 + 59 + 60) * 60_000


def test_what_is_missing_is_waited_for_for_two_minutes_whatever_failed_before() -> None:
    clock = FakeClock(NOON)
    budget = RetryBudget(RetryPolicy(), clock, lambda began: began + DAY_MS)
    budget.next_delay("plan", passing())
    clock.advance(hours=2)
    while clock.elapsed < 7_320_000:
        clock.advance(seconds=budget.next_delay("plan", passing(window=120)))
    assert clock.elapsed == pytest.approx(7_320_000, abs=100)
    with pytest.raises(DeliveryError):
        budget.next_delay("plan", passing(window=120))


def test_those_who_fail_together_come_back_apart() -> None:
    waits = {RetryBudget(RetryPolicy(), FakeClock(NOON)).next_delay("part", passing()) for _ in range(50)}
    assert len(waits) > 40
    assert max(waits) - min(waits) > 0.3


def test_an_act_is_done_until_it_succeeds() -> None:
    tries = count(1)

    def act() -> int:
        number = next(tries)
        if number < 4:
            raise passing()
        return number

    assert retry(act, "host key", RetryBudget(RetryPolicy(0.001), FakeClock(NOON)), FREE) == 4


def test_a_long_wait_and_an_outage_are_not_waited_for_in_place() -> None:
    for error in (passing(4), passing(unreachable=True)):

        def act(error: DeliveryError = error) -> None:
            raise error

        with pytest.raises(DeferredError) as caught:
            retry(act, "host key", RetryBudget(RetryPolicy(0.01), FakeClock(NOON)), FREE)
        assert caught.value.error is error


def test_short_waits_are_waited_for_in_place_for_three_seconds_in_all() -> None:
    budget = RetryBudget(RetryPolicy(0.01), FakeClock(NOON), in_place=0.1)
    budget.spend(0.06, [passing()], FREE)
    budget.spend(0.03, [passing()], FREE)
    with pytest.raises(DeferredError):
        budget.spend(0.03, [passing()], FREE)


def test_who_is_asked_to_stop_does_not_wait_on() -> None:
    def act() -> None:
        raise passing(2)

    with pytest.raises(CancelledError):
        retry(act, "host key", RetryBudget(RetryPolicy(), FakeClock(NOON)), Until(lambda: True))


# Runs

PARTS, ROWS = 20, 3
EXPIRED = "<Error><Code>ExpiredToken</Code></Error>"
"""Passes, and the driver does not try again by itself: one refusal is one failure of a part."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def box(s3: S3Server) -> Iterator[Middlebox]:
    with middlebox("127.0.0.1", int(s3.endpoint.rpartition(":")[2])) as opened:
        yield opened


class Delivery:
    """A flow of many parts to a server behind the middlebox."""

    def __init__(self, deployed: Deployment, s3: S3Server, box: Middlebox, **settings: Any) -> None:
        changed = deployed.backend.settings.model_copy(update={"part_bytes": 1, **settings})
        object.__setattr__(deployed.backend, "settings", changed)
        self.deployed, self.box, self.client = deployed, box, s3.client()
        for first in range(0, PARTS * ROWS, ROWS):
            self.dataset = deployed.import_rows("events", rows(first, ROWS))
        # With its style, so that every request is one of the run's own.
        endpoint = {"endpointUrl": f"http://127.0.0.1:{box.port}", "addressingStyle": "PATH"}
        self.flow = flow_to(deployed, self.dataset, s3, **endpoint)
        self.root = s3.root / BUCKET

    def refused(self, refused: int, **what: Any) -> int:
        """Run what is due while the first requests are refused; how many were, until the run had its verdict."""
        self.box.refuse(times=refused, **what)
        with self.until_verdict() as left:
            self.deployed.run_out()
        self.box.refusals = []
        return refused - left[0]

    @contextmanager
    def until_verdict(self) -> Iterator[list[int]]:
        """First in the list: how many refusals were left when the run failed, or when it was over."""
        left: list[int] = []

        def note(name: str) -> None:
            if name == "run_failed":
                left.append(len(self.box.refusals))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cleanup, "failpoint", note)
            yield left
        left.append(len(self.box.refusals))

    def last(self) -> Run:
        with self.deployed.backend.database.reading() as session:
            found = session.scalar(select(Run).filter_by(flow_id=self.flow).order_by(Run.created_at.desc()).limit(1))
        assert found is not None
        return found

    def recorded(self) -> int:
        """Parts of the last run that are whole."""
        with self.deployed.backend.database.reading() as session:
            done = select(RunPart).where(RunPart.run_id == self.last().id, RunPart.finished_at.is_not(None))
            return len(session.scalars(done).all())

    def position(self) -> int | None:
        with self.deployed.backend.database.reading() as session:
            known = session.get(Watermark, (self.flow, self.dataset))
        return known.snapshot_id if known else None

    def check_all_once(self) -> None:
        """Check that every row was delivered once, and that the last run's manifest names every file."""
        folder = self.root / "exports" / self.dataset
        (manifest,) = folder.rglob("manifest-*.json")
        named = json.loads(manifest.read_text())["exportResults"]
        files = [self.root / one["sinkPath"].lstrip("/") / one["name"] for one in named]
        assert table_of(files)["id"].to_pylist() == list(range(PARTS * ROWS))
        assert {path for path in folder.rglob("*") if path.is_file()} == {*files, manifest}

    def check_next_delivers(self) -> None:
        """The destination is there again: the next run delivers what this one did not; what that left is removed."""
        assert (self.last().status, self.position(), self.last().manifest) == ("failed", None, None)
        self.deployed.clock.advance(hours=3)
        assert len(list(remove_orphans(self.deployed.backend))) <= 1
        self.deployed.run_due()
        assert (self.last().status, self.last().errors) == ("success", [])
        assert self.position() is not None
        self.check_all_once()


def test_parts_that_fail_for_a_while_are_delivered_once(deployed: Deployment, s3: S3Server, box: Middlebox) -> None:
    delivery = Delivery(deployed, s3, box)
    assert delivery.refused(3, status=400, body=EXPIRED) == 3
    assert (delivery.last().status, delivery.last().errors) == ("success", [])
    delivery.check_all_once()


def test_no_further_part_is_begun_while_a_destination_is_away(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    delivery = Delivery(deployed, s3, box, part_max_attempts=3)
    # Three in flight, three tries each, and one question before. Seventeen parts wait all the while.
    assert 4 <= delivery.refused(1000, status=400, body=EXPIRED) <= 10
    assert delivery.recorded() == 0
    (error,) = delivery.last().errors
    assert (error["code"], "expired" in error["message"]) == ("EXPORT-2001-401", True)
    delivery.check_next_delivers()


def test_a_run_that_has_tried_often_enough_fails_with_the_last_reason(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    delivery = Delivery(deployed, s3, box, part_max_attempts=20, run_max_retries=2)
    assert 3 <= delivery.refused(1000, status=400, body=EXPIRED) <= 6
    assert [one["code"] for one in delivery.last().errors] == ["EXPORT-2001-401"]
    delivery.check_next_delivers()


def test_what_is_denied_fails_at_once(deployed: Deployment, s3: S3Server, box: Middlebox) -> None:
    delivery = Delivery(deployed, s3, box, part_max_attempts=20)
    body = "<Error><Code>AccessDenied</Code></Error>"
    assert 1 <= delivery.refused(1000, status=403, body=body) <= 4
    assert [one["code"] for one in delivery.last().errors] == ["EXPORT-2001-403"]
    delivery.check_next_delivers()


def test_parts_that_are_done_are_not_done_again_when_others_fail(
    deployed: Deployment, s3: S3Server, box: Middlebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = Delivery(deployed, s3, box)
    recorded = count(1)

    def away_after_ten(name: str) -> None:
        if name == "part_recorded" and next(recorded) == 10:
            box.refuse(400, times=4, body=EXPIRED)

    monkeypatch.setattr(exporting_run, "failpoint", away_after_ten)
    deployed.run_due()
    assert (delivery.last().status, box.refusals) == ("success", [])
    assert next(recorded) == PARTS + 1
    delivery.check_all_once()


@pytest.mark.parametrize(("refused", "status"), [(7, "success"), (1000, "failed")])
def test_proof_and_manifest_are_tried_again_as_well(
    deployed: Deployment, s3: S3Server, box: Middlebox, monkeypatch: pytest.MonkeyPatch, refused: int, status: str
) -> None:
    delivery = Delivery(deployed, s3, box, part_max_attempts=2)
    recorded = count(1)

    def away_after_the_last(name: str) -> None:
        if name == "part_recorded" and next(recorded) == PARTS:
            box.refuse(503, times=refused)

    monkeypatch.setattr(exporting_run, "failpoint", away_after_the_last)
    with delivery.until_verdict() as left:
        deployed.run_out()
    box.refusals = []
    assert (delivery.last().status, delivery.recorded()) == (status, PARTS)
    # The manifest is sent twice, each time five times by the driver itself; we ask once how long to wait.
    assert refused - left[0] == (7 if status == "success" else 11)
    if status == "success":
        delivery.check_all_once()
    else:
        monkeypatch.undo()
        delivery.check_next_delivers()


def test_the_manifest_of_a_run_without_files_is_tried_again_too(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    delivery = Delivery(deployed, s3, box)
    deployed.run_due()
    deployed.clock.advance(hours=3)
    assert delivery.refused(2, status=400, body=EXPIRED) == 2
    assert (delivery.last().status, delivery.last().errors) == ("success", [])
    name = f"manifest-{delivery.flow}-{delivery.last().id}.json"
    file = delivery.root / "exports" / delivery.dataset / name
    assert json.loads(file.read_text())["exportResults"] == []


def test_a_server_that_is_down_for_good_fails_the_run_and_loses_nothing(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    delivery = Delivery(deployed, s3, box, part_max_attempts=2)
    there, box.upstream = box.upstream, ("127.0.0.1", 1)
    deployed.run_out()
    assert [one["code"] for one in delivery.last().errors] == ["EXPORT-2003-504"]
    assert delivery.recorded() == 0
    box.upstream = there
    delivery.check_next_delivers()
