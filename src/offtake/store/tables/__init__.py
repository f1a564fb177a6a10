"""The tables. Instants are epoch milliseconds (UTC) unless a column's name ends in `_s` (seconds)."""

from offtake.store.tables.access import (
    AuditEvent,
    Client,
    Label,
    Organisation,
    Role,
    RoleSubject,
    Sandbox,
    SigningKey,
    WebSession,
)
from offtake.store.tables.base import Base, Entity, Stamp
from offtake.store.tables.declared import ManagedResource
from offtake.store.tables.events import DeploymentState, EventRow
from offtake.store.tables.flows import Connection, Flow, SourceConnection, TargetConnection
from offtake.store.tables.health import DestinationHealth
from offtake.store.tables.lake import Batch, BatchFile, Dataset, LakeCatalog, LakeNamespace, LandingZoneKey
from offtake.store.tables.runs import Run, RunDataset, RunPart, Watermark

__all__ = [
    "AuditEvent",
    "Base",
    "Batch",
    "BatchFile",
    "Client",
    "Connection",
    "Dataset",
    "DeploymentState",
    "DestinationHealth",
    "Entity",
    "EventRow",
    "Flow",
    "Label",
    "LakeCatalog",
    "LakeNamespace",
    "LandingZoneKey",
    "ManagedResource",
    "Organisation",
    "Role",
    "RoleSubject",
    "Run",
    "RunDataset",
    "RunPart",
    "Sandbox",
    "SigningKey",
    "SourceConnection",
    "Stamp",
    "TargetConnection",
    "Watermark",
    "WebSession",
]
