"""All metrics: names, types, labels and meanings, after Prometheus's conventions. docs/metrics.md is made from them.

Labels have values from fixed sets, apart from the sandbox, whose number is limited. No label names a flow, a dataset, a
connection or a host.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Scope = Literal["process", "deployment"]

OTHER: Final = "other"
"""The value of a label for everything outside its fixed set."""
NONE: Final = "none"
"""The value of the label `code` when there was no error."""

_SHORT: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LONG: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric. `scope`: whether a process counts what it did itself, or reads the state of the whole deployment.

    `buckets`: upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scope: Scope = "process"
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"offtake_{name}_total", "counter", text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(f"offtake_{name}", "histogram", text, labels, buckets=buckets)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"offtake_{name}", "gauge", text, labels)


def _state(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"offtake_{name}", "gauge", text, labels, scope="deployment")


BUILD_INFO: Final = _gauge("build_info", "Always 1; the versions of Offtake and Python.", "version", "python")

EVENTS: Final = _counter("events", "Events that this process recorded, by kind.", "kind")
RUNS_STARTED: Final = _counter("runs_started", "Runs that started.", "type", "format", "sandbox")
RUNS_ENDED: Final = _counter(
    "runs_ended",
    "Runs that ended; `state`: delivered, nothing_new, failed or cancelled.",
    *("type", "state", "format", "code", "sandbox"),
)
RUN_SECONDS: Final = _histogram(
    "run_duration_seconds", "Time from the start of a run to its end, with waits.", _LONG, "type", "state"
)
ROWS: Final = _counter("delivered_rows", "Rows of runs that were delivered.", "type", "format", "sandbox")
BYTES: Final = _counter(
    "delivered_bytes", "Bytes of the files of runs that were delivered.", "type", "format", "sandbox"
)
FILES: Final = _counter("delivered_files", "Data files of runs that were delivered.", "type", "format", "sandbox")
PARTS: Final = _counter("parts_written", "Parts (files) that were written and confirmed.", "sandbox")
RETRIES: Final = _counter("retries", "Retries after transient errors, by the error's code.", "code")
WAITS: Final = _counter("run_waits", "Waits of runs in the queue that began, by the reason's code.", "code")
TAKEN_OVER: Final = _counter(
    "leases_taken_over", "Runs and batches taken over from a process whose lease had expired.", "kind"
)
BATCHES_ENDED: Final = _counter(
    "batches_ended", "Batches that ended; `state`: imported, failed or cancelled.", "state", "sandbox"
)
BATCH_SECONDS: Final = _histogram("batch_duration_seconds", "Time from a batch's start to its end.", _LONG, "state")
IMPORTED_ROWS: Final = _counter("imported_rows", "Rows of batches that were imported.", "sandbox")
IMPORTED_BYTES: Final = _counter("imported_bytes", "Bytes of the data files of imported batches.", "sandbox")
SCHEDULER_TICK: Final = _gauge(
    "scheduler_last_tick_timestamp_seconds",
    "When this process last looked for due runs with success, in Unix time. Only in processes with a scheduler.",
)

HTTP_REQUESTS: Final = _counter(
    "http_requests",
    "HTTP requests; `route`: the template of the path, `status`: the class of the status, such as 2xx.",
    *("method", "route", "status"),
)
HTTP_SECONDS: Final = _histogram(
    "http_request_duration_seconds", "Time from a request's head to the end of the response.", _SHORT, "method", "route"
)
HTTP_IN_FLIGHT: Final = _gauge("http_requests_in_flight", "HTTP requests that have no complete response yet.")
HTTP_REFUSED: Final = _counter(
    "http_requests_refused", "Requests refused with 503; `limit`: of one address, or of the server.", "limit"
)
HTTP_CONNECTIONS: Final = _gauge("http_connections", "Open HTTP connections.")

POOL_SIZE: Final = _gauge("database_pool_size", "Connections to the database that the pool may keep open.")
POOL_IN_USE: Final = _gauge("database_pool_in_use", "Connections to the database that are in use.")
POOL_WAITS: Final = _counter("database_pool_waits", "Times when all connections were in use, and a thread waited.")
STORE_ERRORS: Final = _counter(
    "store_errors", "Operations that the database refused; `reason`: busy or unavailable, or full.", "reason"
)

NOT_READY: Final = _gauge("not_ready", "1 for each reason for which `/readyz` is not ready, else 0.", "reason")
CLOCK_DIFFERENCE: Final = _gauge(
    "clock_difference_seconds", "The database's clock minus this machine's; 0 with SQLite."
)
STORE_UP: Final = _gauge("store_up", "1 if the database answered in time, 0 if the values below are the last known.")
STORE_SECONDS: Final = _gauge("store_query_seconds", "How long the database took for the values of the deployment.")
DISK_FREE: Final = _gauge("disk_free_bytes", "Free bytes of the disk of a folder of the deployment.", "place")
DISK_SIZE: Final = _gauge("disk_size_bytes", "Size in bytes of the disk of a folder of the deployment.", "place")

FLOWS: Final = _state("flows", "Flows, by state.", "state", "sandbox")
FLOWS_LATE: Final = _state(
    "flows_late", "Flows whose delivery is late, by their freshness target or their schedule.", "sandbox"
)
LATENESS: Final = _state("flow_lateness_max_seconds", "For how long the latest flow has been late; 0: none.", "sandbox")
FLOWS_FAILING: Final = _state("flows_failing", "Enabled flows whose last run failed and was not cancelled.", "sandbox")
RUNS_WAITING: Final = _state(
    "runs_waiting", "Runs in the queue, by why they wait; `none`: only for a worker.", "code", "sandbox"
)
RUNS_RUNNING: Final = _state("runs_running", "Runs that a worker has claimed.", "sandbox")
QUEUE_AGE: Final = _state(
    "queue_oldest_age_seconds", "Age of the oldest run that waits only for a worker; 0: none.", "sandbox"
)
FILES_OWED: Final = _state(
    "runs_with_files_owed", "Ended runs with files at their destination that are still to be removed.", "sandbox"
)
BATCHES: Final = _state(
    "batches_queued", "Batches that are uploaded (loading), wait (staged) or are imported (processing).", "state"
)
BATCH_AGE: Final = _state("batch_queue_oldest_age_seconds", "Age of the oldest staged batch; 0: none.")
LEASES: Final = _state("leases_held", "Leases of runs and batches that are held now.", "kind")
WORKERS_BUSY: Final = _state("workers_busy", "Processes that hold a lease of a run or a batch.")
WORKERS_MISSING: Final = _state("workers_missing", "1 while runs are due and no worker claims them, else 0.")
AWAY: Final = _state("destinations_unavailable", "Destinations that do not answer.")
AWAY_SECONDS: Final = _state(
    "destination_unavailable_max_seconds", "How long the longest of them has not answered; 0: none."
)

METRICS: Final[tuple[Metric, ...]] = tuple(one for one in globals().values() if isinstance(one, Metric))
