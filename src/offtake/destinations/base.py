"""The protocols that every destination implements, and the types with which a destination is declared."""

import importlib.util
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from offtake.destinations.parameters import Params, TargetParams
from offtake.destinations.zones import ZoneType
from offtake.network.egress import Network


@dataclass(frozen=True)
class StoredObject:
    """An object at the destination: its key below the destination's root and its size in bytes.

    `modified_ms`: when it was written, in epoch milliseconds by the destination's clock.
    """

    key: str
    size: int
    modified_ms: int


@dataclass(frozen=True)
class Pending:
    """A write before its last step: its size in bytes, and the temporary name or upload id (`token`) that it completes.

    `token` is None at stores that have no such name.
    """

    bytes: int
    token: str | None = None


BeforeCompletion = Callable[[Pending], None]


class Sink(Protocol):
    """An open location at a destination. Keys are relative, `/`-separated, and never start with `/`.

    Methods raise `DeliveryError` only (permanent or transient, with a remedy). An exception raised by `chunks` passes
    through `put` unchanged.
    """

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """Write one object atomically, replacing an existing one; returns the number of bytes written.

        When it returns, the object is complete. `before_completion` is called before the last step, when all bytes are
        stored; it is not called if the store takes the object in one request. After that call, an error removes
        nothing: `settle` finds out the result. `writer`: a number that grows from one writer of the key to the next
        (fencing token); `clear` uses it to distinguish writers.
        """
        ...

    def settle(self, key: str, pending: Pending) -> bool:
        """Complete a pending write if it is not complete; True when the object was or is complete.

        An object that was completed and is gone was collected by a consumer: True. False: the write was not completed,
        or the store cannot tell; the object must be written again.
        """
        ...

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """Withdraw an object or a pending write, so that it is never visible again; False when it was collected.

        A withdrawn object may be kept, hidden, until `delete`: until then, another call returns the same result. A
        store that cannot rename objects decides by their presence; there, with `again` (an earlier call may have
        removed the object) or for a `pending` write, an absent object counts as withdrawn.
        """
        ...

    def size(self, key: str) -> int | None:
        """The object's size in bytes; None when it does not exist."""
        ...

    def is_gone(self, key: str) -> bool:
        """Whether an object that was complete is gone; raises while the bucket or folder itself is missing."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes in order; used to verify a delivery."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix` (`""` for all)."""
        ...

    def delete(self, key: str) -> None:
        """Remove one object, and its hidden copy after `recall`; a missing object is no error.

        If another writer may still be active, call `clear` first: then that writer cannot complete the object.
        """
        ...

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """Remove temporary files and uncompleted uploads of these keys; returns their number.

        `upto`: keep temporary files of writers with a higher number, so that a slow writer does not remove its
        successor's. Call `settle` or `recall` for pending writes first. A writer that is still active fails with a
        transient error when it completes. Finished objects and other keys are not touched. What a store does not list,
        or denies to list, is kept and logged; that is no error.
        """
        ...

    def uri(self, key: str) -> str:
        """The object's address for users, without credentials."""
        ...

    def close(self) -> None:
        """Close connections; the sink must not be used afterwards."""
        ...


Entry = tuple[str, bool]
"""A name in a folder, and whether it is a folder."""


class LandingZone(Protocol):
    """The landing zone of one sandbox and type. All methods that reach the storage raise `DeliveryError`."""

    @property
    def url(self) -> str:
        """The zone's address for users."""
        ...

    @property
    def local_folder(self) -> Path | None:
        """The zone's folder if it is on this machine: then this server serves it to consumers."""
        ...

    def open(self) -> Sink:
        """A sink for the zone, which is not created; sends no request."""
        ...

    def create(self) -> None:
        """Create the zone when it is missing."""
        ...

    def children(self, folder: str) -> Sequence[Entry] | None:
        """The entries of a folder (`""`: the zone itself), folders first, then by name; None when it does not exist."""
        ...

    def expire(self, before_ms: int) -> Iterator[int]:
        """Remove files last written before `before_ms` (epoch milliseconds); yields the number after each step.

        A file that is being written, or is replaced meanwhile, is kept.
        """
        ...

    def empty(self) -> Iterator[None]:
        """Remove all files, in steps, after revoking credentials that the storage would accept.

        The folder or container itself is kept: it may be a mount or a link, or have its own access rights.
        """
        ...


class LandingZones(Protocol):
    """The landing zones of a deployment: folders, containers of an Azure account, or folders of a bucket."""

    def of_organisation(self, organisation: str, *, is_first: bool) -> "LandingZones":
        """The zones of an organisation; `is_first`: whether it is the deployment's first one."""
        ...

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> LandingZone:
        """The zone of a sandbox, by the sandbox's name."""
        ...


@dataclass(frozen=True)
class Limits:
    """The guarantees that a destination cannot give with these credentials; `missing_guarantees`: sentences for users.

    `reads_back`: written files can be read. `one_name`: a file can be written again under the same name, invisible
    until it is complete; else each attempt to write a file needs its own name.
    """

    reads_back: bool = True
    one_name: bool = True
    missing_guarantees: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetupGuide:
    """The documentation of a destination, in Markdown; its page in the documentation is generated from it.

    `summary` and `needs`: what it is and what one must have, in a sentence each. `rights`: the minimal permissions,
    ready to paste. `limits`: what is not supported or not tested.
    """

    summary: str
    needs: str
    about: str
    rights: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Driver:
    """An optional library: the module that must be importable, and the extra that installs it."""

    module: str
    extra: str

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def install_hint(self) -> str:
        """The remedy when it is not installed."""
        return f"Ask the operator to install offtake[{self.extra}]."


@dataclass(frozen=True)
class AuthMethod:
    """One way to authenticate: the contract's `auth.specName`, its `type` as `kind`, the model of its params.

    `title` and `about`: its name and a sentence about it, for people who choose one.
    """

    name: str
    kind: str
    description: str
    model: type[Params]
    title: str
    about: str
    driver: Driver | None = None


@dataclass(frozen=True)
class SandboxLocation:
    """The context in which a destination is opened: sandbox, organisation, landing zones and network rules."""

    sandbox_name: str
    zones: LandingZones
    organisation: str = ""
    network: Network = field(default_factory=Network)

    def zone(self, kind: ZoneType) -> LandingZone:
        """The sandbox's landing zone."""
        return self.zones.zone(self.organisation, self.sandbox_name, kind)


Open = Callable[[Params | None, TargetParams, SandboxLocation], Sink]
Pin = Callable[[Params, TargetParams | None, SandboxLocation], Params]
LimitsOf = Callable[[Params | None], Limits]
Answers = Callable[[Params | None, SandboxLocation], bool]


@dataclass(frozen=True)
class Destination:
    """The declaration of a destination; the API's specs, validation, forms and documentation derive from it."""

    name: str
    connection_spec_id: str
    flow_spec_id: str
    flow_spec_name: str
    auth_methods: tuple[AuthMethod, ...]
    parameters: type[TargetParams]
    longest_key: int
    """The most bytes of a key, in UTF-8."""
    guide: SetupGuide
    encryption: bool
    open: Open
    compression_order: tuple[Literal["NONE", "GZIP"], ...] = ("NONE", "GZIP")
    driver: Driver | None = None
    pin: Pin | None = None
    """Connects, and returns the credentials completed with what was found: the server's host key and, with
    target params, how files are put in place. Raises `DeliveryError`. None when there is nothing to find."""
    pins_login: bool = False
    """Whether `pin` signs in without target params too, so that a login can be tested before there is a target."""
    answers: Answers | None = None
    """Probes the destination, within seconds: whether it answers; False when that cannot be found out. Raises
    `DeliveryError` when it does not answer. None for destinations without a server."""

    limits: LimitsOf = lambda _credentials: Limits()
    """The guarantees that it cannot give with these credentials."""

    def missing_driver(self, auth_name: str | None) -> Driver | None:
        """The driver that this authentication method needs and that is not installed; None when there is none."""
        method = next((one for one in self.auth_methods if one.name == auth_name), None)
        needed = (self.driver, method.driver if method else None)
        return next((one for one in needed if one is not None and not one.installed), None)
