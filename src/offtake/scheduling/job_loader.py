"""Loads a run's job: looks up everything that the run refers to, and decrypts its credentials."""

from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import access, labels
from offtake.catalog import datasets
from offtake.clock import Clock
from offtake.contract.caller import ALL, OPERATOR, VIEW_DATASETS, Caller
from offtake.contract.folder_templates import TemplateValues, expand
from offtake.destinations import schema
from offtake.destinations.base import LandingZones, SandboxLocation
from offtake.exporting.job import DatasetExport, ExportJob, SnapshotRange
from offtake.exporting.target import DeliveryTarget
from offtake.flows import encryption, flows, host_key_pinning, specs, windows
from offtake.flows.column_choices import choice_of
from offtake.flows.credentials import open_credentials
from offtake.flows.host_key_pinning import PinStore
from offtake.flows.schedule import FULL
from offtake.flows.windows import Limits
from offtake.lake.table_names import TableName
from offtake.landing_zone import keys
from offtake.network.egress import Network
from offtake.store.database import Database
from offtake.store.tables import (
    Batch,
    Client,
    Connection,
    Dataset,
    Flow,
    Organisation,
    Run,
    Sandbox,
    SourceConnection,
    TargetConnection,
    Watermark,
)
from offtake.store.vault import Vault


@dataclass(frozen=True)
class JobLoader:
    """Loads everything a run needs (credentials, target, snapshots) into an `ExportJob`."""

    vault: Vault
    zones: LandingZones
    network: Network = field(default_factory=Network)
    limits: Limits = field(default_factory=Limits)

    def load(self, session: Session, run_id: str) -> ExportJob:
        """The run's job in the current state; raises `VaultError` when its credentials cannot be decrypted."""
        run = session.get_one(Run, run_id)
        flow = session.get(Flow, run.flow_id)
        target = session.get_one(TargetConnection, run.target_connection_id)
        sandbox = session.get_one(Sandbox, run.sandbox_id)
        organisation = session.get_one(Organisation, run.org_id)
        positions = _positions(session, run.flow_id)
        owner = _owner(session, flow, sandbox)
        return ExportJob(
            run_id=run.id,
            base_connection_id=target.base_connection_id,
            manifest_owner_id=target.id if target.manifest_by_target else run.flow_id,
            export_time_ms=run.scheduled_at,
            datasets=tuple(
                replace(
                    _dataset(session, run, flow, (organisation, sandbox), dataset_id, positions.get(dataset_id)),
                    pin=SnapshotRange(**run.pins[dataset_id]) if run.pins and dataset_id in run.pins else None,
                    owner_may_read=_may_read(session, owner, dataset_id),
                )
                for dataset_id in run.dataset_ids
            ),
            target=self._target(session, target, sandbox),
            folder=run.folder,
            manifest_key=run.manifest_key,
            window=windows.window_of(flow, run.trigger, self.limits),
            waiting_since_ms=run.waiting_since,
        )

    def with_pinned_host_key(self, job: ExportJob, database: Database, clock: Clock) -> ExportJob:
        """The job with the destination's host key pinned in its credentials; raises `DeliveryError`."""
        target = job.target
        destination = specs.destination_of_connection(target.connection_spec_id)
        pins = PinStore(database, self.vault, clock)
        base_id = job.base_connection_id
        pinned = host_key_pinning.pin(
            pins, destination, base_id, target.credentials, target.params, target.sandbox_location
        )
        return replace(job, target=replace(target, credentials=pinned))

    def _target(self, session: Session, target: TargetConnection, sandbox: Sandbox) -> DeliveryTarget:
        destination = specs.destination_of_connection(target.connection_spec_id)
        base = session.get_one(Connection, target.base_connection_id)
        return DeliveryTarget(
            connection_spec_id=destination.connection_spec_id,
            credentials=open_credentials(self.vault, destination, base),
            params=schema.parse_target_params(destination, target.params),
            sandbox_location=SandboxLocation(
                sandbox_name=sandbox.name,
                zones=keys.of_organisation(session, self.zones, sandbox.org_id),
                organisation=sandbox.org_id,
                network=self.network,
            ),
            auth_name=base.auth_spec_name,
            encrypt_to=encryption.public_key(base.encryption) if base.encryption else None,
        )


def _positions(session: Session, flow_id: str) -> dict[str, int]:
    return {one.dataset_id: one.snapshot_id for one in session.scalars(select(Watermark).filter_by(flow_id=flow_id))}


def _owner(session: Session, flow: Flow | None, sandbox: Sandbox) -> Caller | None:
    """The flow's last editor with their current permissions; None when that client was deleted or revoked."""
    if flow is not None and flow.updated_client == OPERATOR:
        return access.operator_in(session, sandbox)
    client = session.get(Client, flow.updated_client) if flow else None
    if client is None or client.revoked_at is not None:
        return None
    return access.caller_of(session, client, sandbox, remote="", request_id="")


def _may_read(session: Session, owner: Caller | None, dataset_id: str) -> bool:
    if owner is None or not owner.grants.allow(VIEW_DATASETS):
        return False
    if ALL in owner.grants.labels:
        return True
    lacking = select(Dataset.id).where(Dataset.id == dataset_id, ~labels.visible(Dataset.id, owner))
    return session.scalar(lacking) is None


def _dataset(
    session: Session,
    run: Run,
    flow: Flow | None,
    place: tuple[Organisation, Sandbox],
    dataset_id: str,
    position: int | None,
) -> DatasetExport:
    organisation, sandbox = place
    row = session.get(Dataset, dataset_id)
    name = row.name if row else dataset_id
    names = TemplateValues(
        destination=specs.destination_of_flow(run.flow_spec_id).name,
        dataset_id=dataset_id,
        dataset_name=name,
        flow_name=flow.name if flow else run.flow_id,
        flow_id=run.flow_id,
        sandbox_name=sandbox.name,
        organization_name=organisation.name,
    )
    # A run whose flow was deleted is only ended; its stored plan has the names of its files.
    schedule = flows.stored_schedule(flow) if flow else None
    template = schedule.folder_name_template if schedule else None
    always_full = schedule is not None and schedule.export_mode == FULL
    export: Literal["full", "incremental"] = "full" if run.full_export or always_full else "incremental"
    # A dataset of our own has no table until its first batch.
    landed = select(Batch.id).where(Batch.dataset_id == dataset_id, Batch.snapshot_id.is_not(None)).limit(1)
    source = session.get(SourceConnection, flow.source_connection_id) if flow else None
    return DatasetExport(
        dataset_id=dataset_id,
        name=name,
        table=TableName(row.table_name) if row else None,
        folder=expand(template, names, run.scheduled_at),
        position=position,
        export=export,
        has_table=(row is not None and datasets.is_registered(row)) or session.scalar(landed) is not None,
        ref=(source.refs or {}).get(dataset_id) if source else None,
        columns=choice_of(source, dataset_id) if source else None,
        rewrites=row.rewrites if row else None,
    )
