"""Where a run delivers to. Worker processes load this module, so it imports neither the store nor the lake."""

from dataclasses import dataclass

from offtake.destinations import registry
from offtake.destinations.base import Limits, SandboxLocation, Sink
from offtake.destinations.parameters import Params, TargetParams
from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.exporting.traced_sink import TracedSink, span_of_call
from offtake.telemetry import tracing


@dataclass(frozen=True)
class DeliveryTarget:
    """A destination with its decrypted credentials. Pickled to worker processes; never stored."""

    connection_spec_id: str
    credentials: Params | None
    params: TargetParams
    sandbox_location: SandboxLocation
    auth_name: str | None = None
    encrypt_to: bytes | None = None
    """The armored OpenPGP public key that data files are encrypted with; the manifest is never encrypted."""

    def answers(self) -> bool:
        """Whether the destination answers; False when it cannot be probed.

        Raises `DeliveryError` when it does not answer; takes seconds, unless DNS hangs.
        """
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        if destination is None or destination.answers is None or destination.missing_driver(self.auth_name) is not None:
            return False
        with span_of_call("probe", destination.name):
            return destination.answers(self.credentials, self.sandbox_location)

    @property
    def longest_key(self) -> int | None:
        """The most bytes of a key at the destination; None for an unknown destination."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        return None if destination is None else destination.longest_key

    def limits(self) -> Limits:
        """The guarantees that the destination cannot give."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        return Limits() if destination is None else destination.limits(self.credentials)

    def open(self) -> Sink:
        """Open a sink for writing; raises `DeliveryError` when that fails."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        if destination is None:
            raise DeliveryError(
                EXPORT_FAILED,
                f"No destination has the connection spec id {self.connection_spec_id}.",
                "Use a supported one.",
            )
        lacking = destination.missing_driver(self.auth_name)
        if lacking is not None:
            raise DeliveryError(EXPORT_FAILED, f"{destination.name} is not installed.", lacking.install_hint)
        if tracing.traceparent() is None:
            return destination.open(self.credentials, self.params, self.sandbox_location)
        with span_of_call("open", destination.name):
            sink = destination.open(self.credentials, self.params, self.sandbox_location)
        return TracedSink(sink, destination.name)
