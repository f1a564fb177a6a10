"""Carries out `offtake copy`: a temporary deployment with one flow, whose run is executed here."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from offtake.access import clients
from offtake.api.in_process import InProcess
from offtake.cli import output
from offtake.cli.copy_destination import Place, check_destination, find_place, flow_spec_id
from offtake.cli.copy_folder import CopyFolder, private_folder
from offtake.cli.copy_request import CopyRequest
from offtake.cli.copy_sources import Sources, find_sources, take_in
from offtake.cli.executing import Progress, progress_of, wait_sentence
from offtake.cli.local import settings_at
from offtake.cli.progress_bar import ProgressBar
from offtake.client.names import CONNECTION, FLOW, RUN
from offtake.client.server import FLOW_SERVICE, Server
from offtake.clock import Clock
from offtake.deployment.backend import Backend, open_backend, sole_server
from offtake.destinations.landing_zone.folder import OneFolder
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.flows.specs import DATA_LAKE
from offtake.scheduling.background import run_worker
from offtake.settings import Settings
from offtake.store import runs, waits

_POLL_SECONDS: Final = 0.1
_HOW_TO_STOP: Final = "Ctrl-C stops the copy; --wait-for sets how long it waits."
_LIVE: Final = ("waiting", "processing")
_OF_A_DEPLOYMENT: Final = (
    "database_url", "catalog_url", "warehouse", "storage", "upload_dir", "readers_group", "landing_zone", "vault_",
    "oidc_", "trusted_proxies", "multi_user", "check_connections",
)  # fmt: skip
"""The settings, by their first letters, that a copy does not take from the environment or `offtake.toml`."""
_STATE: Final = "state.json"


@dataclass(frozen=True)
class _State:
    """A copy whose flow exists. `folder`: the destination, if that is a folder of this machine."""

    flow_id: str
    folder: str | None


def copy(request: CopyRequest) -> Json:
    """Deliver the sources; the destination and its files. Raises `OfftakeError` when not everything is delivered.

    An interrupted copy is kept, and continues when it is requested again.
    """
    check_destination(request.destination)
    sources = find_sources(request)
    with private_folder(request.identity(sources.descriptions), request.destination) as folder:
        try:
            return _copy(request, sources, folder)
        except KeyboardInterrupt:
            output.note("offtake: interrupted. Repeat the command to continue.")
            raise
        except Exception:
            folder.done = True
            raise


def _copy(request: CopyRequest, sources: Sources, folder: CopyFolder) -> Json:
    state, where = _read_state(folder.path), folder.path / "deployment"
    if state is None:
        # Nothing was written to the destination yet.
        shutil.rmtree(where, ignore_errors=True)
    else:
        output.note("offtake: the copy that was interrupted continues.")
    with _opened(_settings(request, where)) as (opened, owner):
        if state is None:
            with Server(InProcess(opened)) as server:
                state = _prepare(opened, server, request, sources)
            _write_state(folder.path, state)
        failpoint("copy_prepared")
        backend = opened if state.folder is None else replace(opened, zones=OneFolder(Path(state.folder)))
        with Server(InProcess(backend)) as server:
            delivered = _deliver(backend, server, state, owner)
    folder.done = True
    return {"destination": request.destination, **delivered}


def _settings(request: CopyRequest, where: Path) -> Settings:
    """The settings of this machine, without those of its deployment."""
    own = [name for name in Settings.model_fields if name.startswith(_OF_A_DEPLOYMENT)]
    defaults = {name: Settings.model_fields[name].default for name in own}
    own_values = {**defaults, "data_dir": where, "retry_window_seconds": float(request.wait_seconds)}
    return settings_at(request.data_dir).model_copy(update=own_values)


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Backend, str]]:
    """The copy's deployment, which is made if it does not exist, and the name of its worker."""
    with sole_server(settings) as owner:
        backend = open_backend(settings, Clock(), lazily=True)
        try:
            clients.create_organisation(backend.database, backend.clock)
            yield backend, owner
        finally:
            backend.close()


def _prepare(backend: Backend, server: Server, request: CopyRequest, sources: Sources) -> _State:
    """Take the sources in, and create the connections and the flow."""
    place = find_place(request, server)
    datasets = take_in(backend, server, request, sources)
    folder = request.folder or ("/" if sources.count == 1 else "%DATASET_NAME%")
    flow_id = _create_flow(server, request, place, datasets, folder)
    return _State(flow_id, None if place.folder is None else str(place.folder))


def _create_flow(server: Server, request: CopyRequest, place: Place, datasets: list[str], folder: str) -> str:
    lake = {"id": DATA_LAKE, "version": "1.0"}
    source = {"connectionSpec": lake, "params": {"datasets": [{"dataSetId": one} for one in datasets]}}
    base: Json = {"connectionSpec": place.bodies.spec}
    base |= {"auth": place.bodies.auth} if place.bodies.auth else {}
    base |= {"encryption": place.encryption} if place.encryption else {}
    base_id = server.post(CONNECTION.path, {"name": "copy", **base})["id"]
    params = {**request.target, **place.bodies.target}
    target = {"baseConnectionId": base_id, "connectionSpec": place.bodies.spec, "params": params}
    source_id = server.post(f"{FLOW_SERVICE}/sourceConnections", {"name": "copy", **source})["id"]
    target_id = server.post(f"{FLOW_SERVICE}/targetConnections", {"name": "copy", **target})["id"]
    # Once, far ahead: the run is started here.
    schedule = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0, "foldernameTemplate": folder}
    flow = {
        "name": "copy",
        "flowSpec": {"id": flow_spec_id(place.bodies.spec), "version": "1.0"},
        "sourceConnectionIds": [source_id],
        "targetConnectionIds": [target_id],
        "transformations": [],
        "scheduleParams": schedule | {"startTime": int(server.transport.now()) + 86_400},
    }
    return str(server.post(FLOW.path, flow)["id"])


def _deliver(backend: Backend, server: Server, state: _State, owner: str) -> Json:
    """Execute the flow's run until it ends; its id and files. Raises `OfftakeError` unless it succeeds."""
    runs.release_all_of(backend.database, owner)
    run_id = _find_run(server, state.flow_id)
    waits.restart(backend.database, run_id)
    with run_worker(backend, owner, run_id), ProgressBar() as bar:
        progress = _follow(server, run_id, bar)
    if progress.status != "success":
        raise OfftakeError(progress.error or f"The copy is {progress.status}.")
    return {"runId": run_id, "files": _files(server, run_id)}


def _find_run(server: Server, flow_id: str) -> str:
    """The flow's run in progress, or the one that has delivered; else a new one."""
    for one in server.get_all(RUN.path, (("property", f"flowId=={flow_id}"),)):
        if one["metrics"]["statusSummary"]["status"] != "failed":
            return str(one["id"])
    return str(server.post(f"{FLOW.path}/{flow_id}/run", {"fullExport": False})["id"])


def _follow(server: Server, run_id: str, bar: ProgressBar) -> Progress:
    """The progress of the run at its end. While it waits for its destination, standard error has the reason once."""
    noted = None
    while True:
        progress = progress_of(server, run_id)
        bar.show(progress)
        if progress.status not in _LIVE:
            return progress
        if progress.waiting is not None and progress.waiting["reason"] != noted:
            noted = progress.waiting["reason"]
            bar.note(f"offtake: the copy waits {wait_sentence(progress.waiting)}. {_HOW_TO_STOP}")
        time.sleep(_POLL_SECONDS)


def _files(server: Server, run_id: str) -> list[Json]:
    manifest = json.loads(server.get_content(f"{RUN.path}/{run_id}/manifest", "a manifest"))
    return [
        {
            "path": f"{one['sinkPath'].rstrip('/')}/{one['name']}".lstrip("/"),
            "rows": one["recordCount"],
            "bytes": one["size"],
            "sha256": one["sha256"],
        }
        for one in manifest["exportResults"]
    ]


def _read_state(path: Path) -> _State | None:
    try:
        return _State(**json.loads((path / _STATE).read_bytes()))
    except FileNotFoundError:
        return None


def _write_state(path: Path, state: _State) -> None:
    new = path / f"{_STATE}.new"
    with new.open("w") as file:
        json.dump(asdict(state), file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / _STATE)
