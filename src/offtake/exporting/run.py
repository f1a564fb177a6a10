"""Executing a run: plan, parts, manifest, commit. After an interruption at any step, another worker can continue."""

import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from offtake.destinations.base import Pending, Sink
from offtake.documents import InfoItem
from offtake.errors import KEY_UNUSABLE, DeliveryError, OfftakeError, exhaustion
from offtake.exporting import manifest as proof
from offtake.exporting.attempts import next_attempt, remove_failed
from offtake.exporting.cancellation import CancellationToken, raise_if_cancelled, sleep, wait_until_lease_is_valid
from offtake.exporting.context import RunContext
from offtake.exporting.engine import PartsFailedError
from offtake.exporting.job import ExportJob
from offtake.exporting.loss_warnings import loss_warnings
from offtake.exporting.part import Intent, PartTask, WrittenPart
from offtake.exporting.plan import Plan, file_ending, make_plan
from offtake.exporting.retry import DeferredError, RetryBudget, exhausted_error, retry
from offtake.exporting.waiting import return_to_queue
from offtake.failpoints import failpoint
from offtake.lake.parts import TableSchema, slices_from_json
from offtake.lake.storage.access import FileAccess
from offtake.store import attempts, run_parts, run_plans, runs, waits
from offtake.store.run_leases import Lease
from offtake.store.run_parts import PartRecord
from offtake.store.run_plans import PlanBasis, PlanOutdatedError
from offtake.store.tables import RunDataset, RunPart
from offtake.store.tables.documents import ManifestRecord
from offtake.telemetry import tracing

_REWRITE_SECONDS: Final = 0.5


def execute(
    job: ExportJob,
    lease: Lease,
    context: RunContext,
    cancellation: CancellationToken,
    probe_failure: DeliveryError | None = None,
    plan: Plan | None = None,
) -> None:
    """Deliver the run and commit it, or return it to the queue to wait.

    `probe_failure`: why the probe of its destination failed, if it did; raised when there is something to deliver.
    `plan`: a plan that this holder has just stored.
    Raises `DeliveryError` when the run fails, `CancelledError` when cancelled, and `LeaseLostError` when another worker
    has the run; what was recorded stays, for the next worker or for `fail_run`.
    """
    budget = RetryBudget(context.retry_policy, context.clock, job.window, job.waiting_since_ms, lease.retries)
    try:
        _deliver(_Delivery(job, lease, context, cancellation, budget, probe_failure, plan), budget)
    except DeferredError as deferred:
        return_to_queue(lease, context, budget, deferred)


def _deliver(delivery: "_Delivery", budget: RetryBudget) -> None:
    """Deliver; when the machine is out of resources, return the run to the queue like after an outage."""
    try:
        delivery.deliver()
    except OfftakeError:
        raise
    except Exception as error:
        cause = exhaustion(error)
        if cause is None:
            raise
        exhausted = exhausted_error(cause)
        raise DeferredError(exhausted, budget.next_delay("machine", exhausted)) from error


class _Delivery:
    """One worker's hold on one run, from plan to commit."""

    def __init__(
        self,
        job: ExportJob,
        lease: Lease,
        context: RunContext,
        cancellation: CancellationToken,
        budget: RetryBudget,
        probe_failure: DeliveryError | None,
        plan: Plan | None,
    ) -> None:
        self._stored_plan = plan
        self._job = job
        self._lease = lease
        self._context = context
        self._cancellation = cancellation
        self._budget = budget
        self._probe_failure = probe_failure
        self._begun: set[int] = set()
        self._wrote_again = False
        self._manifest_announced = False

    def deliver(self) -> None:
        with tracing.span("run.plan") as span:
            datasets, parts = self._plan()
            span.set({"offtake.datasets": len(datasets), "offtake.parts": len(parts)})
        document: ManifestRecord | None = None
        warnings: list[InfoItem] = []
        if parts or proof.manifest_key(self._job, datasets, parts) is not None:
            self._job = retry(self._pin_host_key, "host key", self._budget, self._cancellation)
            unfinished = [part for part in parts if not part.finished_at]
            self._write_parts(datasets, unfinished, again=self._lease.planned)
            delivered = self._stored_parts()
            with tracing.span("run.manifest"):
                finish = functools.partial(self._finish, datasets, delivered)
                document = retry(finish, "manifest", self._budget, self._cancellation)
            waits.note_answer(self._context.database, self._lease, self._context.clock.now_ms())
            warnings = loss_warnings(datasets, delivered)
        failpoint("before_commit")
        now_ms = self._context.clock.now_ms()
        with tracing.span("run.commit"):
            runs.complete(self._context.database, self._lease, document, now_ms, warnings, again=self._wrote_again)
        failpoint("after_commit")

    def _pin_host_key(self) -> ExportJob:
        if self._probe_failure is not None:
            raise self._probe_failure
        return self._context.pin_host_key(self._job)

    def _plan(self) -> tuple[list[RunDataset], list[RunPart]]:
        context = self._context
        if self._stored_plan is not None:
            return self._stored_plan.datasets, self._stored_plan.parts
        stored = run_plans.load_plan(context.database, self._lease) if self._lease.planned else None
        if stored is not None:
            _check_names(self._job, stored[1])
            return stored
        rewrites = self._job.rewrites
        while True:
            try:
                plan = self._make_plan(rewrites)
            except PlanOutdatedError:
                # An import is rewriting the dataset's files; it ends, or another ingestor ends it.
                sleep(_REWRITE_SECONDS, self._cancellation)
                rewrites = run_plans.count_rewrites(context.database, (one.dataset_id for one in self._job.datasets))
                continue
            failpoint("plan_stored")
            return plan.datasets, plan.parts

    def _make_plan(self, rewrites: Mapping[str, int]) -> Plan:
        context = self._context
        find = functools.partial(context.find_kept, self._job.run_id)
        kept = retry(find, "earlier runs", self._budget, self._cancellation)
        make = functools.partial(make_plan, self._job, context.lake, context.part_size, kept)
        try:
            plan = retry(make, "plan", self._budget, self._cancellation)
        except DeliveryError as error:
            if error.window is None:
                raise
            # The retry window of one dataset's error has ended; the other datasets are exported.
            plan = retry(functools.partial(make, waited=True), "plan", self._budget, self._cancellation)
        failpoint("planned")
        now_ms = context.clock.now_ms()
        key = proof.manifest_key(self._job, plan.datasets, plan.parts) or ""
        planned = {one.dataset_id for one in plan.datasets if not one.error}
        continues = [(one.run_id, dataset_id) for dataset_id, one in kept.items() if dataset_id in planned]
        basis = PlanBasis(rewrites, continues, key)
        run_plans.save_plan(context.database, self._lease, plan.datasets, plan.parts, plan.warnings, now_ms, basis)
        return plan

    def _write_parts(self, datasets: Sequence[RunDataset], parts: Sequence[RunPart], *, again: bool) -> None:
        schemas = {one.dataset_id: TableSchema.from_json(one.schema) for one in datasets if one.schema}
        accesses = self._accesses({part.dataset_id for part in parts})
        left = {
            part.number: PartTask(
                number=part.number,
                key=part.key,
                slices=slices_from_json(part.slices),
                schema=schemas[part.dataset_id],
                target=self._job.target,
                again=again,
                gzip=self._context.gzip[self._job.target.params.dataset_file_type],
                writer=self._lease.fence,
                access=accesses[part.dataset_id],
                traceparent=tracing.traceparent(),
            )
            for part in parts
        }
        while left:
            self._settle(left)
            self._begin_attempts(left)
            try:
                self._write_all(left)
            except PartsFailedError as failed:
                seconds = [self._budget.next_delay(f"part {one}", why) for one, why in failed.failures.items()]
                left.update({number: replace(left[number], again=True) for number in failed.failures})
                self._budget.spend(max(seconds), list(failed.failures.values()), self._cancellation)

    def _accesses(self, dataset_ids: Collection[str]) -> dict[str, FileAccess | None]:
        """How the files of each dataset are opened."""
        lake, found = self._context.lake, {}
        for one in self._job.datasets:
            if one.dataset_id in dataset_ids and one.table is not None:
                ask = functools.partial(lake.access, one.table)
                found[one.dataset_id] = retry(ask, "catalog", self._budget, self._cancellation)
        return found

    def _write_all(self, left: dict[int, PartTask]) -> None:
        """Have the parts written; each is removed from `left` once it is recorded."""
        for written in self._context.engine.run(left.values(), self._cancellation, self._record_intent):
            failpoint("part_before_record")
            self._record(written.number, _record_of(written))
            del left[written.number]
            raise_if_cancelled(self._cancellation)

    def _settle(self, left: dict[int, PartTask]) -> None:
        """Resolve recorded intents: record the files that are complete and remove them from `left`."""
        if not any(task.again for task in left.values()):
            return
        for part in [part for part in self._stored_parts() if part.number in left and part.intended_at]:
            settle = functools.partial(self._is_complete, part)
            if retry(settle, f"settling {part.number}", self._budget, self._cancellation):
                self._record(part.number, _stored_record(part))
                del left[part.number]
            else:
                run_parts.forget_intent(self._context.database, self._lease, part.number)
                left[part.number] = replace(left[part.number], again=True)

    def _begin_attempts(self, left: dict[int, PartTask]) -> None:
        """Give each new attempt its own name, where a file is visible while it is written."""
        if self._job.target.limits().one_name:
            return
        again = [task for task in left.values() if task.again]
        first = [task for task in left.values() if not task.again and task.number not in self._begun]
        if not again and not first:
            return
        keys = {task.number: next_attempt(task.key) for task in again} | {task.number: task.key for task in first}
        attempts.begin(self._context.database, self._lease, keys)
        left.update({number: replace(left[number], key=key) for number, key in keys.items()})
        self._begun.update(keys)
        failpoint("attempt_begun")
        if not again:
            return
        self._wrote_again = True
        wait_until_lease_is_valid(self._cancellation)
        removed = remove_failed(self._job, {task.number: task.key for task in again})
        attempts.note_removed(self._context.database, self._lease.run_id, removed)

    def _is_complete(self, part: RunPart) -> bool:
        sink = self._job.target.open()
        try:
            wait_until_lease_is_valid(self._cancellation)
            # If the target connection was edited since, the old address cannot be inspected.
            complete = sink.uri(part.key) == part.uri and sink.settle(part.key, Pending(part.bytes or 0, part.token))
            if complete:
                sink.clear([part.key], upto=self._lease.fence)
            return complete
        finally:
            sink.close()

    def _record(self, number: int, record: PartRecord) -> None:
        run_parts.record_part(self._context.database, self._lease, number, record, self._context.clock.now_ms())
        self._budget.note_progress()
        failpoint("part_recorded")

    def _record_intent(self, intent: Intent) -> None:
        record = replace(_record_of(intent.written), token=intent.token)
        now_ms = self._context.clock.now_ms()
        run_parts.record_intent(self._context.database, self._lease, intent.written.number, record, now_ms)

    def _finish(self, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> ManifestRecord | None:
        sink = self._job.target.open()
        try:
            return self._write_manifest(sink, datasets, parts)
        finally:
            sink.close()

    def _stored_parts(self) -> list[RunPart]:
        with self._context.database.reading() as session:
            return run_parts.run_parts(session, self._lease.run_id)

    def _write_manifest(
        self, sink: Sink, datasets: Sequence[RunDataset], parts: Sequence[RunPart]
    ) -> ManifestRecord | None:
        key = proof.manifest_key(self._job, datasets, parts)
        if key is None:
            return None
        failpoint("before_manifest")
        body = proof.manifest(self._job, datasets, parts)
        document: ManifestRecord = {"key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        if not self._settle_manifest(sink, document):
            if self._lease.planned:
                sink.clear([key])
            sink.put(key, self._with_lease(body), functools.partial(self._announce_manifest, sink, document))
        failpoint("after_manifest")
        return document

    def _announce_manifest(self, sink: Sink, document: ManifestRecord, pending: Pending) -> None:
        self._manifest_announced = True
        announced: ManifestRecord = {**document, "uri": sink.uri(document["key"]), "token": pending.token}
        run_parts.record_manifest(self._context.database, self._lease, announced)
        failpoint("manifest_intended")

    def _settle_manifest(self, sink: Sink, document: ManifestRecord) -> bool:
        """Whether an earlier attempt, whose intent was recorded, completed the manifest file."""
        if not self._lease.planned and not self._manifest_announced:
            return False
        announced = run_parts.load_manifest_intent(self._context.database, self._lease)
        if announced is None or announced != {**announced, **document, "uri": sink.uri(document["key"])}:
            return False
        wait_until_lease_is_valid(self._cancellation)
        complete = sink.settle(document["key"], Pending(document["bytes"], announced["token"]))
        if complete:
            sink.clear([document["key"]])
        return complete

    def _with_lease(self, body: bytes) -> Iterator[bytes]:
        yield body
        wait_until_lease_is_valid(self._cancellation)


def _record_of(written: WrittenPart) -> PartRecord:
    losses = [loss.to_json() for loss in written.losses]
    return PartRecord(written.rows, written.bytes, written.sha256, losses, written.uri, cpu_ms=written.cpu_ms)


def _stored_record(part: RunPart) -> PartRecord:
    return PartRecord(
        part.rows or 0, part.bytes or 0, part.sha256 or "", part.losses or (), part.uri, part.token, part.cpu_ms or 0
    )


def _check_names(job: ExportJob, parts: Sequence[RunPart]) -> None:
    """Raise `DeliveryError` unless the planned names have the extension of the files that would be written now.

    A resumed run uses the connections as they are now: after a change of file type, compression or encryption, the
    planned names would be wrong.
    """
    ending = file_ending(job.target)
    if any(not part.key.endswith(f"-c000{ending}") for part in parts if not part.finished_at):
        raise DeliveryError(
            KEY_UNUSABLE,
            "The target connection's file type or compression, or the base connection's encryption, was changed "
            "during this run.",
            "Run the flow again.",
        )
