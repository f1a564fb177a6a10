"""A run carried out: plan, parts, proof, commit. Every step can be cut off and taken up again by another worker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from offtake.clock import Clock
from offtake.destinations.contract import Sink
from offtake.errors import CancelledError, DeliveryError
from offtake.exporting import manifest as proof
from offtake.exporting.engine import Engine
from offtake.exporting.order import Order
from offtake.exporting.part import PartTask
from offtake.exporting.plan import PartSize, info_item, make_plan
from offtake.exporting.retrying import Patience, persevere
from offtake.failpoints import failpoint
from offtake.formats import pgp
from offtake.lake.catalog import Lake
from offtake.store import runs
from offtake.store.database import Database
from offtake.store.runs import Lease
from offtake.store.tables import RunDataset, RunPart


@dataclass(frozen=True)
class Workshop:
    """What a run is carried out with."""

    database: Database
    lake: Lake
    engine: Engine
    clock: Clock
    part_size: PartSize
    patience: Patience
    acquaint: Callable[[Order], Order] = lambda order: order
    """Meets the destination before the first file goes there; raises `DeliveryError`."""


def carry_out(order: Order, lease: Lease, shop: Workshop, cancelled: Callable[[], bool]) -> None:
    """Bring the run to its end: delivered and committed, or failed with its debris removed.

    Raises `CancelledError` when asked to stop, leaving what was recorded for whoever goes on (or for `give_up`),
    and `LeaseLostError` when another worker has the run.
    """
    try:
        datasets, parts = _plan(order, lease, shop)
        _deliver(order, lease, shop, datasets, parts, cancelled)
    except DeliveryError as error:
        give_up(order, lease, shop, error)


def give_up(order: Order, lease: Lease, shop: Workshop, error: DeliveryError) -> None:
    """End the run as failed; positions stay. Its files are removed as far as the destination allows."""
    runs.renew(shop.database, lease, shop.clock.now_ms(), _CLEANUP_LEASE_MS)
    plan = runs.load_plan(shop.database, lease)
    if plan and plan[1]:
        _remove_debris(order, *plan)
    runs.fail(shop.database, lease, info_item(error), shop.clock.now_ms())


_CLEANUP_LEASE_MS = 60_000


def _plan(order: Order, lease: Lease, shop: Workshop) -> tuple[list[RunDataset], list[RunPart]]:
    stored = runs.load_plan(shop.database, lease)
    if stored is not None:
        _check_encryption(order, stored[1])
        return stored
    plan = make_plan(order, shop.lake, shop.part_size)
    runs.save_plan(shop.database, lease, plan.datasets, plan.parts, plan.warnings, shop.clock.now_ms())
    failpoint("plan_stored")
    return plan.datasets, plan.parts


def _check_encryption(order: Order, parts: Sequence[RunPart]) -> None:
    """A run taken up again finds names that say whether files are encrypted; the base connection may say otherwise."""
    encrypts = order.place.encrypt_to is not None
    if any(part.key.endswith(pgp.EXTENSION) != encrypts for part in parts):
        raise DeliveryError(
            "EXPORT-2004-400",
            "The base connection's encryption was turned on or off while this run was under way.",
            "Run the flow again.",
        )


def _deliver(
    order: Order,
    lease: Lease,
    shop: Workshop,
    datasets: list[RunDataset],
    parts: list[RunPart],
    cancelled: Callable[[], bool],
) -> None:
    document: dict[str, Any] | None = None
    if parts:
        order = persevere(lambda: shop.acquaint(order), shop.patience, cancelled)
        _do_parts(order, lease, shop, datasets, [part for part in parts if not part.finished_at], cancelled)
        document = persevere(lambda: _finish(order, lease, shop, datasets, cancelled), shop.patience, cancelled)
    failpoint("before_commit")
    runs.complete(shop.database, lease, document, shop.clock.now_ms())
    failpoint("after_commit")


def _finish(
    order: Order, lease: Lease, shop: Workshop, datasets: list[RunDataset], cancelled: Callable[[], bool]
) -> dict[str, Any] | None:
    sink = order.place.open()
    try:
        finished = _prove(order, lease, shop, sink, datasets, cancelled)
        return _write_manifest(order, sink, datasets, finished)
    finally:
        sink.close()


def _do_parts(
    order: Order,
    lease: Lease,
    shop: Workshop,
    datasets: Sequence[RunDataset],
    parts: Sequence[RunPart],
    cancelled: Callable[[], bool],
) -> None:
    schemas = {dataset.dataset_id: dataset.schema or {} for dataset in datasets}
    tasks = [
        PartTask(
            number=part.number,
            key=part.key,
            slices=tuple(part.slices),
            schema=schemas[part.dataset_id],
            place=order.place,
            patience=shop.patience,
        )
        for part in parts
    ]
    for written in shop.engine.run(tasks, cancelled):
        failpoint("part_before_record")
        runs.record_part(
            shop.database,
            lease,
            written.number,
            rows=written.rows,
            size=written.bytes,
            sha256=written.sha256,
            now_ms=shop.clock.now_ms(),
        )
        failpoint("part_recorded")


def _prove(
    order: Order,
    lease: Lease,
    shop: Workshop,
    sink: Sink,
    datasets: Sequence[RunDataset],
    cancelled: Callable[[], bool],
) -> list[RunPart]:
    """Ask the destination for every part; those that are not whole there are done once more."""
    parts = _stored_parts(lease, shop)
    broken = [part for part in parts if sink.size(part.key) != part.bytes]
    if not broken:
        return parts
    for part in broken:
        runs.forget_part(shop.database, lease, part.number)
    _do_parts(order, lease, shop, datasets, broken, cancelled)
    parts = _stored_parts(lease, shop)
    for part in parts:
        if sink.size(part.key) != part.bytes:
            raise DeliveryError(
                "EXPORT-2003-504",
                f"{sink.uri(part.key)} does not have the {part.bytes} bytes that were written.",
                "Check what else writes to or removes from this folder, then run the flow again.",
            )
    return parts


def _stored_parts(lease: Lease, shop: Workshop) -> list[RunPart]:
    with shop.database.reading() as session:
        return runs.run_parts(session, lease.run_id)


def _write_manifest(
    order: Order, sink: Sink, datasets: Sequence[RunDataset], parts: Sequence[RunPart]
) -> dict[str, Any] | None:
    if not order.place.params.include_file_manifest:
        return None
    failpoint("before_manifest")
    body = proof.to_bytes(proof.manifest(order, datasets, parts))
    key = proof.manifest_key(order, datasets)
    sink.put(key, [body])
    failpoint("after_manifest")
    return {"key": key, "bytes": len(body)}


def _remove_debris(order: Order, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> None:
    """The manifest goes first, so that no consumer trusts files that are about to go."""
    keys = [proof.manifest_key(order, datasets), *(part.key for part in parts)]
    try:
        sink = order.place.open()
    except DeliveryError:
        return
    try:
        for key in keys:
            sink.delete(key)
    except DeliveryError:
        return
    finally:
        sink.close()


def cancelled_error() -> DeliveryError:
    """Why a cancelled run ended."""
    return DeliveryError("EXPORT-1499-400", "The run was cancelled.", "Run the flow again when it should deliver.")


__all__ = ["CancelledError", "Workshop", "cancelled_error", "carry_out", "give_up"]
