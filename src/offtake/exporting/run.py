"""A run carried out: plan, parts, proof, commit. Every step can be cut off and taken up again by another worker."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from offtake.destinations.contract import Sink
from offtake.errors import DeliveryError
from offtake.exporting import manifest as proof
from offtake.exporting.ending import give_up
from offtake.exporting.engine import PartsFailedError
from offtake.exporting.leash import Leash, await_right, pause
from offtake.exporting.loss_warnings import loss_warnings
from offtake.exporting.order import Order
from offtake.exporting.part import PartTask
from offtake.exporting.plan import Plan, file_ending, make_plan
from offtake.exporting.retrying import Budget, persevere
from offtake.exporting.workshop import Workshop
from offtake.failpoints import failpoint
from offtake.store import runs
from offtake.store.runs import Lease, PlanOutdatedError
from offtake.store.tables import RunDataset, RunPart

_REWRITE_SECONDS: Final = 0.5


def carry_out(order: Order, lease: Lease, shop: Workshop, leash: Leash) -> None:
    """Bring the run to its end: delivered and committed, or failed with its debris removed.

    Raises `CancelledError` when asked to stop, leaving what was recorded for whoever goes on (or for `give_up`),
    and `LeaseLostError` when another worker has the run.
    """
    try:
        _Delivery(order, lease, shop, leash).deliver()
    except DeliveryError as error:
        give_up(order, lease, shop, error)


class _Delivery:
    """One worker's hold on one run, from plan to commit."""

    def __init__(self, order: Order, lease: Lease, shop: Workshop, leash: Leash) -> None:
        self._order = order
        self._lease = lease
        self._shop = shop
        self._leash = leash
        self._budget = Budget(shop.patience)

    def deliver(self) -> None:
        datasets, parts = self._plan()
        document: dict[str, Any] | None = None
        warnings: list[dict[str, Any]] = []
        if parts:
            self._order = persevere(lambda: self._shop.acquaint(self._order), "meeting", self._budget, self._leash)
            taken_up = self._lease.fence > 1
            self._do_parts(datasets, [part for part in parts if not part.finished_at], again=taken_up)
            document = persevere(lambda: self._finish(datasets), "manifest", self._budget, self._leash)
            warnings = loss_warnings(datasets, self._stored_parts())
        failpoint("before_commit")
        runs.complete(self._shop.database, self._lease, document, self._shop.clock.now_ms(), warnings)
        failpoint("after_commit")

    def _plan(self) -> tuple[list[RunDataset], list[RunPart]]:
        shop = self._shop
        stored = runs.load_plan(shop.database, self._lease)
        if stored is not None:
            _check_names(self._order, stored[1])
            return stored
        while True:
            try:
                plan = self._make_plan()
            except PlanOutdatedError:
                # A batch is rewriting the files of a dataset; it ends, or another ingestor ends it.
                pause(_REWRITE_SECONDS, self._leash)
                continue
            failpoint("plan_stored")
            return plan.datasets, plan.parts

    def _make_plan(self) -> Plan:
        shop = self._shop
        rewrites = runs.count_rewrites(shop.database, (one.dataset_id for one in self._order.datasets))
        make = functools.partial(make_plan, self._order, shop.lake, shop.part_size)
        plan = persevere(make, "plan", self._budget, self._leash)
        failpoint("planned")
        now_ms = shop.clock.now_ms()
        runs.save_plan(shop.database, self._lease, plan.datasets, plan.parts, plan.warnings, now_ms, rewrites)
        return plan

    def _do_parts(self, datasets: Sequence[RunDataset], parts: Sequence[RunPart], *, again: bool) -> None:
        schemas = {dataset.dataset_id: dataset.schema or {} for dataset in datasets}
        left = {
            part.number: PartTask(
                number=part.number,
                key=part.key,
                slices=tuple(part.slices),
                schema=schemas[part.dataset_id],
                place=self._order.place,
                again=again,
                gzip=self._shop.gzip[self._order.place.params.dataset_file_type],
            )
            for part in parts
        }
        while left:
            try:
                self._do_all(left)
            except PartsFailedError as failed:
                waits = [self._budget.wait_after(number, error) for number, error in failed.failures.items()]
                left.update({number: replace(left[number], again=True) for number in failed.failures})
                pause(max(waits), self._leash)

    def _do_all(self, left: dict[int, PartTask]) -> None:
        """Have the parts written; those that are recorded are taken out."""
        for written in self._shop.engine.run(left.values(), self._leash):
            failpoint("part_before_record")
            runs.record_part(
                self._shop.database,
                self._lease,
                written.number,
                rows=written.rows,
                size=written.bytes,
                sha256=written.sha256,
                now_ms=self._shop.clock.now_ms(),
                losses=[loss.to_json() for loss in written.losses],
            )
            del left[written.number]
            failpoint("part_recorded")

    def _finish(self, datasets: list[RunDataset]) -> dict[str, Any] | None:
        sink = self._order.place.open()
        try:
            return self._write_manifest(sink, datasets, self._prove(sink, datasets))
        finally:
            sink.close()

    def _prove(self, sink: Sink, datasets: Sequence[RunDataset]) -> list[RunPart]:
        """Ask the destination for every part; those that are not whole there are done once more."""
        parts = self._stored_parts()
        broken = [part for part in parts if sink.size(part.key) != part.bytes]
        if not broken:
            return parts
        for part in broken:
            runs.forget_part(self._shop.database, self._lease, part.number)
        self._do_parts(datasets, broken, again=True)
        parts = self._stored_parts()
        for part in parts:
            if sink.size(part.key) != part.bytes:
                raise DeliveryError(
                    "EXPORT-2003-504",
                    f"{sink.uri(part.key)} does not have the {part.bytes} bytes that were written.",
                    "Check what else writes to or removes from this folder, then run the flow again.",
                )
        return parts

    def _stored_parts(self) -> list[RunPart]:
        with self._shop.database.reading() as session:
            return runs.run_parts(session, self._lease.run_id)

    def _write_manifest(
        self, sink: Sink, datasets: Sequence[RunDataset], parts: Sequence[RunPart]
    ) -> dict[str, Any] | None:
        if not self._order.place.params.include_file_manifest:
            return None
        failpoint("before_manifest")
        body = proof.to_bytes(proof.manifest(self._order, datasets, parts))
        key = proof.manifest_key(self._order, datasets)
        if self._lease.fence > 1:
            sink.clear([key])
        sink.put(key, self._while_ours(body))
        failpoint("after_manifest")
        return {"key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    def _while_ours(self, body: bytes) -> Iterator[bytes]:
        yield body
        await_right(self._leash)


def _check_names(order: Order, parts: Sequence[RunPart]) -> None:
    """Raise `DeliveryError` unless the names that were planned end as the files would that are written now.

    A run that is taken up again finds the connections as they are then: another file type, compression or encryption
    would put files under names that say something else.
    """
    ending = file_ending(order.place)
    if any(not part.key.endswith(f"-c000{ending}") for part in parts):
        raise DeliveryError(
            "EXPORT-2004-400",
            "The target connection's file type or compression, or the base connection's encryption, was changed while "
            "this run was under way.",
            "Run the flow again.",
        )
