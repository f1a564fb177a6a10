"""How the API is served: proxies, limits and ports."""

from typing import Annotated

from pydantic import Field

from offtake.setting_types.reading import Networks

TrustedProxies = Annotated[
    Networks,
    Field(
        description="Addresses or networks of proxies, separated by commas. Their `X-Forwarded-For` or `Forwarded` "
        "names the client's address, for limits and the audit log, and their `X-Forwarded-Proto` its scheme. "
        "Default: none."
    ),
]
OpenConnections = Annotated[
    int | None,
    Field(
        ge=2,
        description="Largest number of open connections; never more than half of the process's limit of file "
        "descriptors. Default: that half, at most 4096.",
    ),
]
OpenConnectionsPerAddress = Annotated[
    int,
    Field(
        ge=1,
        description="Largest number of open connections from one address (for IPv6, from one /64). A further one "
        "closes the connection that has been idle for the longest time.",
    ),
]
ConcurrentRequests = Annotated[
    int | None,
    Field(
        ge=1,
        description="Largest number of requests in flight; never more than half of the connections. Further requests "
        "get 503 with `Retry-After`. Requests without a token have half of the places. Default: that half, at most "
        "1024.",
    ),
]
ConcurrentRequestsPerAddress = Annotated[
    int, Field(ge=1, description="Largest number of requests in flight from one address (for IPv6, from one /64).")
]
RequestHeadSeconds = Annotated[
    float,
    Field(
        gt=0,
        description="Seconds within which a client must send the head of a request, from its connect or its first "
        "byte.",
    ),
]
RequestBodySeconds = Annotated[
    float,
    Field(
        gt=0,
        description="Idle timeout of a request's body, in seconds. A body that keeps arriving has no limit of time.",
    ),
]
DrainSeconds = Annotated[
    float,
    Field(
        ge=0,
        le=600,
        description="Seconds for which a server that is stopped serves further requests, while `/readyz` responds 503, "
        "so that a load balancer stops sending them before the server closes its port.",
    ),
]
WorkerPort = Annotated[
    int | None,
    Field(
        ge=1,
        le=65_535,
        description="Port on which `offtake worker` serves `/healthz`, `/readyz` and `/metrics`. Default: none.",
    ),
]
WorkerHost = Annotated[str, Field(description="Address on which `offtake worker` listens with `worker_port`.")]
StrictSandboxHeader = Annotated[
    bool,
    Field(
        description="Refuse requests without `x-sandbox-name` and `x-sandbox-id` instead of using the default sandbox."
    ),
]
ErrorTypePrefix = Annotated[str, Field(description="Prefix of FLOW-<code>-<status> in the `type` of an error.")]
