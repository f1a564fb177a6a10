"""What exists on a server: lists, each read once and page by page, and things in them by id and name."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from offtake.client.alerts import CHANNEL, EXTENSION, RULE
from offtake.client.exports import DATA_LAKE_ID
from offtake.client.names import CLIENTS, ROLES
from offtake.client.problems import ServerError
from offtake.client.server import CATALOG, FLOW_SERVICE, Server
from offtake.declarations.models import Kind
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.errors import OfftakeError

MANAGED: Final = f"{FLOW_SERVICE}/managedResources"
_NAMED: Final = 5


class AmbiguousError(OfftakeError):
    """Several things on the server have the name."""


@dataclass
class State:
    """The server's entities of all kinds. Sends requests only for the kinds that are used."""

    server: Server
    _by_name: dict[str, dict[str, list[Json]]] = field(default_factory=dict)
    _by_id: dict[str, dict[str, Json]] = field(default_factory=dict)

    def all_of(self, kind: Kind) -> list[Json]:
        """The entities of a kind."""
        lists: Mapping[Kind, Any] = {
            "catalog": lambda: self.catalogs,
            "dataset": lambda: self.datasets,
            "connection": lambda: self.connections,
            "role": lambda: self.roles,
            "client": lambda: self.clients,
            "flow": lambda: [one for one in self.flows if is_dataset_flow(one)],
            "alert-channel": lambda: self.alert_channels,
            "alert-rule": lambda: self.alert_rules,
        }
        found: list[Json] = lists[kind]()
        return found

    def by_id(self, kind: Kind, resource_id: str) -> Json | None:
        """The entity with that id."""
        if kind not in self._by_id:
            self._by_id[kind] = {one["id"]: one for one in self.all_of(kind)}
        return self._by_id[kind].get(resource_id)

    def by_name(self, kind: Kind, name: str) -> list[Json]:
        """The entities with that name."""
        if kind not in self._by_name:
            names: dict[str, list[Json]] = {}
            for one in self.all_of(kind):
                names.setdefault(plain_name(kind, str(one.get("name"))), []).append(one)
            self._by_name[kind] = names
        return self._by_name[kind].get(plain_name(kind, name), [])

    def find(self, kind: Kind, name: str, resource_id: str | None = None) -> Json | None:
        """The entity with that id, else with that name; None when there is none. Raises `AmbiguousError`."""
        known = self.by_id(kind, resource_id) if resource_id else None
        if known is not None:
            return known
        found = self.by_name(kind, name)
        if len(found) > 1:
            ids = ", ".join(one["id"] for one in found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
            raise AmbiguousError(f"is the name of {len(found)} {kind}s on the server: {ids}; give the id")
        return found[0] if found else None

    def reference_to(self, kind: Kind, resource_id: str) -> str:
        """The name by which documents refer to an entity; its id if the name is ambiguous or not known."""
        entity = self.by_id(kind, resource_id)
        name = str(entity["name"]) if entity else resource_id
        return name if len(self.by_name(kind, name)) == 1 else resource_id

    @cached_property
    def flows(self) -> list[Json]:
        """All flows, also those that do not export datasets."""
        return list(self.server.get_all(f"{FLOW_SERVICE}/flows"))

    @cached_property
    def connections(self) -> list[Json]:
        """The base connections to destinations."""
        found = self.server.get_all(f"{FLOW_SERVICE}/connections")
        return [one for one in found if one["connectionSpec"]["id"] != DATA_LAKE_ID]

    @cached_property
    def sources(self) -> dict[str, Json]:
        """The source connections, by id."""
        return {one["id"]: one for one in self.server.get_all(f"{FLOW_SERVICE}/sourceConnections")}

    @cached_property
    def targets(self) -> dict[str, Json]:
        """The target connections, by id."""
        return {one["id"]: one for one in self.server.get_all(f"{FLOW_SERVICE}/targetConnections")}

    @cached_property
    def datasets(self) -> list[Json]:
        """The datasets: name and description."""
        query = (("properties", "name,description"),)
        return list(self.server.get_by_start(f"{CATALOG}/dataSets", None, query))

    @cached_property
    def catalogs(self) -> list[Json]:
        """The catalogs of others (an extension)."""
        return list(self._extension("catalogs", self.server.get_all(f"{CATALOG}/lakeCatalogs")))

    @cached_property
    def alert_channels(self) -> list[Json]:
        """The channels of alerts (an extension)."""
        return list(self._extension(EXTENSION, self.server.get_all(CHANNEL.path)))

    @cached_property
    def alert_rules(self) -> list[Json]:
        """The rules of alerts (an extension)."""
        return list(self._extension(EXTENSION, self.server.get_all(RULE.path)))

    @cached_property
    def roles(self) -> list[Json]:
        """The roles."""
        return list(self.server.get_by_start(ROLES, "items"))

    @cached_property
    def clients(self) -> list[Json]:
        """The clients that are not revoked (an extension)."""
        found = self._extension("managing clients", self.server.get_by_start(CLIENTS, "items"))
        return [one for one in found if one.get("revokedAt") is None]

    @cached_property
    def tags(self) -> dict[tuple[str, str], str]:
        """The set of each resource that has one, by kind and id (an extension)."""
        found = self._extension("sets of managed resources", self.server.get_by_start(MANAGED, "items"))
        return {(one["kind"], one["id"]): one["set"] for one in found}

    @cached_property
    def intervals(self) -> Mapping[str, list[int]]:
        """The intervals that schedules may have, by flow spec; empty where the server does not list them."""
        specs = self.server.get(f"{FLOW_SERVICE}/flowSpecs").get("items", [])
        return {one["id"]: _intervals(one) for one in specs}

    @property
    def is_local(self) -> bool:
        """Whether the server is in this process: then the caller is the operator."""
        return getattr(self.server.transport, "backend", None) is not None

    def users_of(self, key: str, connection_id: str) -> list[Json]:
        """The flows with that source or target connection. `key`: `sourceConnectionIds` or `targetConnectionIds`."""
        return self._users[key].get(connection_id, [])

    @cached_property
    def _users(self) -> Mapping[str, Mapping[str, list[Json]]]:
        found: dict[str, dict[str, list[Json]]] = {"sourceConnectionIds": {}, "targetConnectionIds": {}}
        for key, users in found.items():
            for flow in self.flows:
                for one in flow.get(key, ()):
                    users.setdefault(one, []).append(flow)
        return found

    def _extension(self, what: str, items: Iterable[Json]) -> Iterable[Json]:
        try:
            yield from items
        except ServerError as error:
            raise (self.server.extension_error(what) if error.is_not_served else error) from None


def plain_name(kind: Kind, name: str) -> str:
    """The name as the server stores it: names of datasets are normalised."""
    return unicodedata.normalize("NFC", name.strip()) if kind == "dataset" else name


def is_dataset_flow(flow: Json) -> bool:
    """Whether the flow exports datasets; a server of the vendor has other flows as well."""
    spec_id = (flow.get("flowSpec") or {}).get("id")
    return any(one.flow_spec_id == spec_id for one in DESTINATIONS)


def _intervals(spec: Json) -> list[int]:
    found: Any = spec
    for key in ("scheduleSpec", "spec", "properties", "interval", "enum"):
        found = found.get(key) if isinstance(found, dict) else None
    return [one for one in found if isinstance(one, int)] if isinstance(found, list) else []
