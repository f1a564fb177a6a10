"""What happens to runs that fail or wait."""

from typing import Annotated

from pydantic import Field

LeaseSeconds = Annotated[
    float,
    Field(gt=0, description="Lease of a run, in seconds: a worker without heartbeat loses its run after that time."),
]
RetryWindowSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="How long a run waits for its destination or source, in seconds, when no slot follows: runs of "
        "one-time and disabled flows, of the last slot, and on request.",
    ),
]
RetryMarginSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="How long before the flow's next slot a waiting run fails, in seconds; at most half of the time "
        "between two slots.",
    ),
]
RetryAlertSeconds = Annotated[
    float, Field(ge=0, description="Seconds of waiting after which a run is named in the log, once, as a warning.")
]
PartMaxAttempts = Annotated[
    int | None,
    Field(
        ge=1,
        le=20,
        description="Largest number of attempts at one part, at the plan and at the manifest; empty: no limit but the "
        "run's window.",
    ),
]
RetryInitialDelaySeconds = Annotated[
    float,
    Field(
        ge=0,
        description="Delay before the second attempt, in seconds. Exponential backoff with jitter: the delay doubles, "
        "up to five minutes (grows by a third, up to one minute, when a destination does not answer at all), and a "
        "random half of it is taken off.",
    ),
]
RunMaxRetries = Annotated[
    int | None, Field(ge=0, description="Largest number of retries for all parts of a run together; empty: no limit.")
]
FailureAlertThreshold = Annotated[
    int, Field(ge=1, description="Consecutive failed runs of a flow after which an alert is logged, once.")
]
DisableFlowAfterAlert = Annotated[bool, Field(description="Also disable the flow when that alert is logged.")]
