"""An extension of runs: verification at the destination."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DeliveryError, OfftakeError
from offtake.exporting.verify import DeliveredFiles, VerificationResult
from offtake.flows import runs
from offtake.scheduling import run_verification

router = APIRouter(tags=["runs"])

LINES: Final = "application/x-ndjson"
_REPORT_SECONDS: Final = 1.0

Download = Annotated[bool, Query(description="Read every file and compare its SHA-256.")]
Strict = Annotated[bool, Query(description="A collected file is a finding too: all files must exist.")]


@router.get(
    "/runs/{run_id}/verification",
    response_model=None,
    **document_operation(examples.RUN_VERIFICATION, errors=(502,)),
)
def verification(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    run_id: str,
    download: Download = False,
    strict: Strict = False,
) -> Response:
    """Compare the files of a run with its destination; with `Accept: application/x-ndjson`, progress (an extension).

    A line of progress is `{"bytesRead", "bytes"}`; the last line has `result`, or `error` with `status` and `detail`.
    """
    try:
        delivery = run_verification.delivery_of(backend, caller, run_id)
    except Problem:
        raise
    except OfftakeError as error:
        raise Problem(problems.WRONG_ACTION, str(error), runs.KIND, run_id) from None
    work = _Verification(delivery, download=download, strict=strict)
    if LINES in request.headers.get("accept", ""):
        return StreamingResponse(work.lines(), media_type=LINES)
    return JSONResponse(work.result())


class _Verification:
    """One comparison; with `download`, in a thread that reports the bytes that it has read."""

    def __init__(self, delivery: DeliveredFiles, *, download: bool, strict: bool) -> None:
        self._delivery, self._download, self._strict = delivery, download, strict
        self._events: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._total = sum(part.bytes or 0 for part in delivery.files)
        self._read, self._reported = 0, time.monotonic()
        self._abandoned = threading.Event()

    def result(self) -> Json:
        try:
            seen = self._seen if self._download else None
            found = run_verification.verify_delivery(self._delivery, seen, strict=self._strict)
        except DeliveryError as error:
            raise Problem(problems.STORAGE_AWAY, f"{error.code} {error}", runs.KIND, self._delivery.run.id) from None
        return _document(self._delivery, found, downloaded=self._download)

    def lines(self) -> Iterator[bytes]:
        worker = threading.Thread(target=self._work, name="verification", daemon=True)
        worker.start()
        try:
            while True:
                event = self._events.get()
                yield json.dumps(event).encode() + b"\n"
                if "bytesRead" not in event:
                    return
        finally:
            self._abandoned.set()

    def _work(self) -> None:
        try:
            event: Json = {"result": self.result()}
        except Problem as error:
            event = {"error": {"status": error.code.status, "detail": str(error)}}
        except Exception as error:  # noqa: BLE001 - the response has begun; its last line reports every error
            event = {"error": {"status": 500, "detail": f"Unexpected error in the server: {type(error).__name__}."}}
        self._events.put(event)

    def _seen(self, count: int) -> None:
        if self._abandoned.is_set():
            raise OfftakeError("The client has closed the connection.")
        self._read += count
        if self._read >= self._total or time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._events.put({"bytesRead": self._read, "bytes": self._total})


def _document(delivery: DeliveredFiles, found: VerificationResult, *, downloaded: bool) -> Json:
    about: dict[str, Any] = {"id": delivery.run.id, "status": delivery.run.status, "downloaded": downloaded}
    delivered = bool(delivery.files) or delivery.run.status == "success"
    hint = run_verification.possible_cause(delivery, found)
    return about | asdict(found) | {"delivered": delivered} | ({"hint": hint} if hint else {})
