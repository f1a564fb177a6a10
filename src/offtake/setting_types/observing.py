"""What operators observe: the log, metrics, traces and events."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

LogFormat = Annotated[
    Literal["text", "json"], Field(description="Format of the log's lines: `text`, or `json` with one object per line.")
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    Field(description="Least severe level of lines that are written to the log."),
]
MetricsPort = Annotated[
    int | None,
    Field(
        ge=1,
        le=65_535,
        description="Port on which `offtake serve` serves `/metrics`, and `/healthz` and `/readyz`, apart from the "
        "API. Default: none.",
    ),
]
MetricsHost = Annotated[str, Field(description="Address on which `offtake serve` listens with `metrics_port`.")]
MetricsToken = Annotated[
    SecretStr | None,
    Field(
        min_length=16,
        description="Bearer token that `/metrics` requires, 16 characters or more. With it, `/metrics` is also served "
        "on the port of the API. Default: `/metrics` is served on `metrics_port` and `worker_port` only, without a "
        "token.",
    ),
]
Tracing = Annotated[
    bool,
    Field(description="Send traces by OTLP over HTTP, as the standard variables `OTEL_…` say; needs `offtake[otel]`."),
]
EventDays = Annotated[
    int, Field(ge=1, le=3650, description="Days for which events of runs, flows, batches and connections are stored.")
]
