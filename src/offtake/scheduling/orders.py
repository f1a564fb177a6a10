"""From a run's row to its order: everything it refers to is looked up, credentials are taken from the vault."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.destinations import schema
from offtake.destinations.contract import Site
from offtake.exporting.order import Order, OrderedDataset
from offtake.exporting.place import Place
from offtake.flows import specs, zones
from offtake.flows.folders import FolderNames, expand
from offtake.lake.catalog import TableName
from offtake.store.tables import (
    Connection,
    Dataset,
    Flow,
    Organisation,
    Run,
    Sandbox,
    TargetConnection,
    Watermark,
)
from offtake.store.vault import Vault


@dataclass(frozen=True)
class OrderDesk:
    """What turning runs into orders needs beside the database."""

    vault: Vault
    landing_zone: Path

    def order(self, session: Session, run_id: str) -> Order:
        """The run's order as things stand now; raises `VaultError` when its credentials cannot be opened."""
        run = session.get_one(Run, run_id)
        flow = session.get_one(Flow, run.flow_id)
        target = session.get_one(TargetConnection, run.target_connection_id)
        sandbox = session.get_one(Sandbox, run.sandbox_id)
        positions = _positions(session, flow.id)
        return Order(
            run_id=run.id,
            target_connection_id=target.id,
            export_time_ms=run.scheduled_at,
            datasets=tuple(
                _dataset(session, run, flow, sandbox, dataset_id, positions.get(dataset_id))
                for dataset_id in run.dataset_ids
            ),
            place=self._place(session, target, sandbox),
        )

    def _place(self, session: Session, target: TargetConnection, sandbox: Sandbox) -> Place:
        destination = specs.destination_of_connection(target.connection_spec_id)
        base = session.get_one(Connection, target.base_connection_id)
        credentials: BaseModel | None = None
        if base.auth_sealed is not None and base.auth_spec_name is not None:
            opened = self.vault.open(base.id, base.auth_sealed)
            credentials = schema.parse_credentials(destination, base.auth_spec_name, opened)
        return Place(
            connection_spec_id=destination.connection_spec_id,
            credentials=credentials,
            params=schema.parse_target_params(destination, target.params),
            site=Site(sandbox_name=sandbox.name, landing_zone=zones.root(session, self.landing_zone, sandbox.org_id)),
        )


def _positions(session: Session, flow_id: str) -> dict[str, int]:
    return {one.dataset_id: one.snapshot_id for one in session.scalars(select(Watermark).filter_by(flow_id=flow_id))}


def _dataset(
    session: Session, run: Run, flow: Flow, sandbox: Sandbox, dataset_id: str, position: int | None
) -> OrderedDataset:
    row = session.get(Dataset, dataset_id)
    name = row.name if row else dataset_id
    names = FolderNames(
        destination=specs.destination_of_flow(flow.flow_spec_id).name,
        dataset_id=dataset_id,
        dataset_name=name,
        flow_name=flow.name,
        flow_id=flow.id,
        sandbox_name=sandbox.name,
        organization_name=session.get_one(Organisation, flow.org_id).name,
    )
    template = flow.schedule["folder_name_template"]
    one_time = flow.schedule["export_mode"] == "DAILY_FULL_EXPORT"
    export: Literal["full", "incremental"] = "full" if run.full_export or one_time else "incremental"
    return OrderedDataset(
        dataset_id=dataset_id,
        name=name,
        table=TableName(row.table_name) if row else None,
        folder=expand(template, names, run.scheduled_at),
        position=position,
        export=export,
    )
