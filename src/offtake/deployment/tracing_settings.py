"""Starts traces, if the settings ask for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from offtake import __version__
from offtake.errors import OfftakeError
from offtake.settings import Settings
from offtake.telemetry import tracing

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"


@contextmanager
def traced(settings: Settings, role: Literal["server", "worker"]) -> Iterator[None]:
    """Record and send the spans of this process until the block ends, if `OFFTAKE_TRACING` is set.

    Raises `OfftakeError` if `offtake[otel]` is not installed, or the variables ask for another protocol.
    """
    if not settings.tracing:
        yield
        return
    for name in _PROTOCOLS:
        if os.environ.get(name, _HTTP) != _HTTP:
            raise OfftakeError(f"{name} is {os.environ[name]}, but traces are sent by {_HTTP} only. Unset it.")
    try:
        from offtake.telemetry.otlp import start  # noqa: PLC0415 - an extra, which takes long to load
    except ImportError as error:
        raise OfftakeError(
            f"OFFTAKE_TRACING is set, but {error.name or 'OpenTelemetry'} is not installed. "
            "Run pip install 'offtake[otel]', or unset OFFTAKE_TRACING."
        ) from None
    started = start(tracing.Origin(__version__, role))
    try:
        yield
    finally:
        tracing.start(None)
        started.close()
