"""Connection specs and flow specs (contract, sections 7, 8 and 10)."""

from collections.abc import Sequence
from typing import Final, NoReturn

from offtake.contract import filters, problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.parameters import EXTENSION
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.flows.schedule import ScheduleRules
from offtake.lake.column_choice import MOST_COLUMNS

DATA_LAKE: Final = "23598e46-f560-407b-88d5-ea6207e49db0"
DATA_LANDING_ZONE: Final = "10440537-2a7b-4583-ac39-ed38d4b848e8"
_PROVIDER: Final = "14e34fac-d307-11e9-bb65-2a2ae2dbcce4"
_FILTERED: Final = ("id", "name", "version", "providerId", "attributes.isSource", "attributes.isDestination")
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"


def connection_specs() -> list[Json]:
    """The data-lake source first, then the destinations."""
    return [_data_lake_spec(), *(schema.connection_spec(destination) for destination in DESTINATIONS)]


def flow_specs(rules: ScheduleRules) -> list[Json]:
    """One dataset-export flow spec for each destination, with the intervals that the deployment allows."""
    return [_flow_spec(destination, rules) for destination in DESTINATIONS]


def find_specs(specs: list[Json], properties: Sequence[str]) -> list[Json]:
    """The specs that match all `property` filters; raises like lists of entities."""
    conditions = filters.parse_all(properties)
    for one in conditions:
        if one.path not in _FILTERED or one.operator not in ("==", "!="):
            allowed = ", ".join(_FILTERED)
            raise Problem(
                problems.FILTER_FIELD, f"Specs cannot be filtered by {one.path} {one.operator}. Allowed: {allowed}."
            )
    return [spec for spec in specs if filters.matches_document(conditions, spec)]


def connection_spec(spec_id: str) -> Json:
    """The connection spec of that id; raises 1439."""
    return _by_id(connection_specs(), "connectionSpecs", spec_id)


def flow_spec(spec_id: str, rules: ScheduleRules) -> Json:
    """The flow spec of that id; raises 1439."""
    return _by_id(flow_specs(rules), "flowSpecs", spec_id)


def destination_of_connection(spec_id: str) -> Destination:
    """The destination with that connection spec; raises 1413 with the earlier message that clients match."""
    for destination in DESTINATIONS:
        if destination.connection_spec_id == spec_id:
            return destination
    raise unknown_spec()


def destination_of_flow(spec_id: str) -> Destination:
    """The destination with that flow spec; raises 1413 naming all flow specs."""
    for destination in DESTINATIONS:
        if destination.flow_spec_id == spec_id:
            return destination
    known = ", ".join(f"{one.flow_spec_id} ({one.name})" for one in DESTINATIONS)
    raise Problem(problems.UNKNOWN_SPEC, f"Flow spec {spec_id} does not export datasets. Use one of: {known}.")


def unknown_spec() -> Problem:
    """The error of an unknown connection spec."""
    return Problem(problems.UNKNOWN_SPEC, "Please provide a valid spec id")


def refuse_writing(caller: Caller) -> NoReturn:
    """Raise 1426 for users, 1420 for services: specs cannot be changed."""
    if caller.kind == "user":
        raise Problem(problems.NO_SPEC_WRITES, "A user token cannot create or change specs.")
    raise Problem(problems.NOT_UPDATABLE, "Specs are part of Offtake and cannot be changed.")


def _by_id(specs: list[Json], resource_type: str, spec_id: str) -> Json:
    for spec in specs:
        if spec["id"] == spec_id:
            return spec
    raise problems.not_found(resource_type, spec_id)


_REF: Final[Json] = {
    "type": "string",
    "title": "Branch or tag",
    "description": "The branch or tag of the dataset's table to export instead of its main branch.",
    "maxLength": 200,
    **EXTENSION,
}


_COLUMNS: Final[Json] = {
    "type": "object",
    "title": "Columns",
    "description": "By dataset id, the paths of the columns to export, such as address.city; by default all columns.",
    "additionalProperties": {"type": "array", "minItems": 1, "maxItems": MOST_COLUMNS, "items": {"type": "string"}},
    **EXTENSION,
}


def _data_lake_spec() -> Json:
    entry = {"type": "object", "properties": {"dataSetId": {"type": "string"}, "name": {"type": "string"}, "ref": _REF}}
    datasets = {"type": "array", "minItems": 1, "items": entry | {"required": ["dataSetId"]}}
    return {
        "id": DATA_LAKE,
        "name": "activation-datalake",
        "version": "1.0",
        "providerId": _PROVIDER,
        "authSpec": [],
        "sourceSpec": {
            "name": "Datasets",
            "type": "Datasets",
            "spec": {
                "$schema": _DRAFT,
                "type": "object",
                "properties": {"datasets": datasets, "columns": _COLUMNS},
                "required": ["datasets"],
            },
        },
        "attributes": {"category": "internal", "isSource": False, "isDestination": False},
    }


def _flow_spec(destination: Destination, rules: ScheduleRules) -> Json:
    schedule = {**_SCHEDULE, "properties": {**_SCHEDULE["properties"], "interval": _interval(rules)}}
    return {
        "id": destination.flow_spec_id,
        "name": destination.flow_spec_name,
        "version": "1.0",
        "providerId": _PROVIDER,
        "sourceConnectionSpecIds": [DATA_LAKE],
        "targetConnectionSpecIds": [destination.connection_spec_id],
        "transformationSpecs": [],
        "scheduleSpec": {"name": "PeriodicSchedule", "type": "Periodic", "spec": schedule},
        "runSpec": {"name": "DatasetExportRun", "spec": _RUN},
        "attributes": {
            "isDestinationFlow": True,
            "isSourceFlow": False,
            "frequency": "batch",
            "_workflow": ["DATASETS"],
            "notification": {"category": "destinations", "flowRun": {"enabled": True}},
        },
        "permissionsInfo": {
            "view": [{"@type": "lowLevel", "name": "Destinations", "permissions": ["read"]}],
            "manage": [{"@type": "lowLevel", "name": "Destinations", "permissions": ["write"]}],
        },
    }


def _interval(rules: ScheduleRules) -> Json:
    return {"type": "integer", "enum": rules.intervals}


_SCHEDULE: Final[Json] = {
    "$schema": _DRAFT,
    "type": "object",
    "properties": {
        "exportMode": {
            "type": "string",
            "enum": ["DAILY_FULL_EXPORT", "FIRST_FULL_THEN_INCREMENTAL"],
            "default": "FIRST_FULL_THEN_INCREMENTAL",
        },
        "timeUnit": {"type": "string", "enum": ["hour", "day"]},
        "interval": {"type": "integer"},
        "startTime": {"type": "integer", "description": "epoch seconds"},
        "endTime": {"type": "integer", "description": "epoch seconds"},
        "foldernameTemplate": {"type": "string"},
    },
    "required": ["startTime", "interval", "timeUnit"],
}
_INSTANT: Final[Json] = {"type": "integer"}
_RUN: Final[Json] = {
    "type": "object",
    "properties": {"startTime": _INSTANT, "windowStartTime": _INSTANT, "windowEndTime": _INSTANT},
}
