"""The one contract every destination fulfils, and the words in which a destination states itself."""

import importlib.util
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from offtake.destinations.egress import Network
from offtake.destinations.parameters import Params, TargetParams
from offtake.destinations.zones import ZoneType


@dataclass(frozen=True)
class StoredObject:
    """An object at the destination: its key below the destination's root, its size in bytes, when it was written.

    `modified_ms` in epoch milliseconds by the destination's own clock.
    """

    key: str
    size: int
    modified_ms: int


@dataclass(frozen=True)
class Pending:
    """A write of which only the last step is missing: its size in bytes, and the temporary name that the step replaces.

    `token` is None where a store has no such name.
    """

    bytes: int
    token: str | None = None


BeforeCompletion = Callable[[Pending], None]


class Sink(Protocol):
    """One open place at a destination. Keys are relative, `/`-separated, and never start with `/`.

    Every method raises `DeliveryError` (terminal or transient, with a remedy) and nothing else of its own.
    An exception raised by `chunks` passes through `put` unchanged.
    """

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """Write one object whole or not at all, replacing any object of that key; the bytes written.

        The return is the proof that the object is complete. `before_completion` is called when all of it is stored and
        only the last step is missing; it is not called where a store takes the object in one request. From then on
        nothing of the write is removed on errors: `settle` finds out what became of it. `writer`: a number that grows
        from one writer of the key to the next; `clear` tells writers apart by it.
        """
        ...

    def settle(self, key: str, pending: Pending) -> bool:
        """Take the last step of an announced write if it was not taken; True when the object was or is complete.

        An object that is not there any more has been collected. False: the write was not completed, or the store
        cannot tell; the object is to be written again.
        """
        ...

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """Take back an object, or an announced write, so that it is never seen again; False when it was collected.

        What was taken back may stay, invisible, until `delete`: asked again before that, the answer is the same. A
        store that cannot put objects aside answers by what is there; with `again` (an earlier call may have removed
        it) and for a `pending` write, an absent object counts as taken back there.
        """
        ...

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None where there is none."""
        ...

    def is_gone(self, key: str) -> bool:
        """Whether an object that was complete is not there any more; raises while the place itself is not there."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes in order; used to verify a delivery."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with the folder `prefix` (`""` for all)."""
        ...

    def delete(self, key: str) -> None:
        """Remove one object, and what was recalled of it; removing what is not there is not an error.

        Where somebody may still be writing it, `clear` comes first: then nobody completes it afterwards.
        """
        ...

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """Remove what unfinished writes of these keys have left behind; how many there were.

        `upto`: leave temporary files of writers with a higher number, so that a writer that was only slow does not
        remove its successor's. An announced write is settled or recalled before it is cleared.

        That is temporary files, and uploads that were never completed. A writer that is still at it fails, with a
        transient error, when it wants to complete. Finished objects and other keys are not touched. What a store does
        not show, or this deployment may not see there, stays: that is logged, and is no error.
        """
        ...

    def uri(self, key: str) -> str:
        """The address a person would use for the object, without credentials."""
        ...

    def close(self) -> None:
        """Let go of connections; the sink is not used afterwards."""
        ...


Entry = tuple[str, bool]
"""The name of something in a folder, and whether it is a folder itself."""


class LandingZone(Protocol):
    """The landing zone of one sandbox and type. All methods that reach the storage raise `DeliveryError`."""

    @property
    def url(self) -> str:
        """The zone's address, for people."""
        ...

    @property
    def local_folder(self) -> Path | None:
        """The zone's folder where it is one of this machine, which this server serves to consumers itself."""
        ...

    def open(self) -> Sink:
        """The zone as it is; nothing is requested yet."""
        ...

    def create(self) -> None:
        """Create the zone when it is missing."""
        ...

    def children(self, folder: str) -> Sequence[Entry] | None:
        """What is directly in a folder (`""`: the zone itself), folders first, then by name. None: no such folder."""
        ...

    def expire(self, before_ms: int) -> Iterator[int]:
        """Remove files that were last written before the instant, in steps; yields how many each step removed.

        A file that is being written, or replaced meanwhile, stays.
        """
        ...

    def empty(self) -> Iterator[None]:
        """Remove all files, in steps; credentials that the storage would still accept end first.

        The folder or container itself stays: it may be a mount, a link, or have access rights of its own.
        """
        ...


class LandingZones(Protocol):
    """The landing zones of a deployment: folders, containers of an Azure account, or folders of a bucket."""

    def of_organisation(self, organisation: str, *, is_first: bool) -> "LandingZones":
        """The zones of an organisation; `is_first`: it is the first one of the deployment."""
        ...

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> LandingZone:
        """The zone of a sandbox, by the sandbox's name."""
        ...


@dataclass(frozen=True)
class Limits:
    """What does not hold at a destination with these credentials: `lost` in sentences for people.

    `reads_back`: what was written can be looked at. `one_name`: a file can be written again under its name, unseen
    until it is complete; else each attempt to write a file needs a name of its own.
    """

    reads_back: bool = True
    one_name: bool = True
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetupGuide:
    """What people must know to use a destination, in Markdown: its page in the documentation is made of it.

    `rights`: the least that its owner has to grant, ready to be pasted. `limits`: what does not work, or is untried.
    """

    about: str
    rights: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Driver:
    """A library that not every deployment needs: the module that must be there, and the extra that brings it."""

    module: str
    extra: str

    @property
    def installed(self) -> bool:
        """True when it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def install_hint(self) -> str:
        """What an operator does when it is not."""
        return f"Have the operator install offtake[{self.extra}]."


@dataclass(frozen=True)
class AuthMethod:
    """One way to authenticate: the contract's `auth.specName`, its `type` as `kind`, the model of its params."""

    name: str
    kind: str
    description: str
    model: type[Params]
    driver: Driver | None = None


@dataclass(frozen=True)
class SandboxLocation:
    """What this deployment, the caller's organisation and sandbox give to a destination."""

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
ANSWER_SECONDS: Final = 5.0
"""How long one step of asking a destination whether it answers may take."""


@dataclass(frozen=True)
class Destination:
    """A destination, stated once; the API's specs, validation, forms and documentation come from here."""

    name: str
    connection_spec_id: str
    flow_spec_id: str
    flow_spec_name: str
    auth_methods: tuple[AuthMethod, ...]
    parameters: type[TargetParams]
    longest_key: int
    """Bytes of the longest key, in UTF-8."""
    guide: SetupGuide
    encryption: bool
    open: Open
    compression_order: tuple[Literal["NONE", "GZIP"], ...] = ("NONE", "GZIP")
    driver: Driver | None = None
    pin: Pin | None = None
    """Connects, and gives the credentials back with what a first success teaches, such as the server's key and, with a
    place, how files are put there; raises `DeliveryError`. None where there is nothing to learn."""
    answers: Answers | None = None
    """Asks the destination, within seconds, whether it answers; False when that cannot be told. Raises `DeliveryError`
    when it does not. None where there is nobody to ask."""

    limits: LimitsOf = lambda _credentials: Limits()
    """What does not hold there with these credentials."""

    def missing_driver(self, auth_name: str | None) -> Driver | None:
        """The driver that delivering with this way to authenticate needs and that is not installed."""
        method = next((one for one in self.auth_methods if one.name == auth_name), None)
        needed = (self.driver, method.driver if method else None)
        return next((one for one in needed if one is not None and not one.installed), None)
