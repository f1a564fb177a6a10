"""Many flows on a fast clock, whose processes are killed and paused every few seconds: what their copies hold then.

    python -m bench.soak [--flows 500] [--datasets 20] [--minutes 10] [--database sqlite|postgresql] [--speed 108]

A scheduler and two workers, real processes, work on one deployment; batches come in all the time. Every few seconds
one of them, or a process that writes its files, is killed with SIGKILL, or paused for longer than its lease. In the end
every flow's copy is read back: it must hold its dataset's rows, once each, and no file that no manifest names.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow.parquet as pq
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake import logs
from offtake.access import access, clients
from offtake.catalog import batches, datasets, uploaded_files
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend, open_backend
from offtake.flows import connections, flows, source_connections, target_connections
from offtake.scheduling.background import ProcessRoles, background_services
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.settings import Settings
from offtake.store.database import StoreBusyError
from offtake.store.tables import Batch, Flow, Run
from tests.postgres import new_database, postgres_server

LAKE: Final = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
ZONE: Final = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
FLOW_SPEC: Final = {"id": "cd2fc47e-e838-4f38-a581-8fff2f99b63a", "version": "1.0"}
ROWS: Final = 20
LEASE_SECONDS: Final = 4.0

# Each process is forked from one that has everything imported and does nothing else.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["offtake.scheduling.background"])


@dataclass(frozen=True)
class FastClock(Clock):
    """The machine's time since `origin_ms`, `speed` times as fast; what leases count, passes as ever."""

    origin_ms: int
    speed: float

    def now_ms(self) -> int:
        """The instant that it is there."""
        return round(self.origin_ms + (super().now_ms() - self.origin_ms) * self.speed)


@dataclass(frozen=True)
class Place:
    """The deployment that is soaked."""

    folder: Path
    database_url: str | None
    clock: FastClock

    @contextlib.contextmanager
    def opened(self, clock: Clock | None = None) -> Iterator[Backend]:
        """The deployment, by its own clock or another."""
        settings = Settings(
            data_dir=self.folder,
            database_url=self.database_url,
            lease_seconds=LEASE_SECONDS,
            export_processes=1,
            part_rows=50,
        )
        backend = open_backend(settings, clock or self.clock)
        try:
            yield backend
        finally:
            backend.close()


@dataclass
class Tally:
    """What was done to the processes."""

    kills: Counter[str] = field(default_factory=Counter)


@dataclass
class Crew:
    """The processes, by name; one that has died is started again under its name."""

    place: Place
    duties: dict[str, ProcessRoles]
    processes: dict[str, BaseProcess] = field(default_factory=dict)

    def keep_up(self) -> None:
        """Start those that are not there."""
        for name, duties in self.duties.items():
            process = self.processes.get(name)
            if process is None or not process.is_alive():
                self.processes[name] = _context.Process(target=_serve, args=(self.place, name, duties), name=name)
                self.processes[name].start()

    def family(self, name: str) -> list[psutil.Process]:
        """A process, and those that write its files."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.processes[name].pid)
            return [own, *own.children(recursive=True)]
        return []

    def stop(self) -> None:
        """Stop all, as an operator does."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(30)
            if process.is_alive():
                process.kill()


def main() -> None:
    """Soak one deployment, and say what came of it; exits with 1 when a copy is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=500)
    parser.add_argument("--datasets", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--speed", type=float, default=108)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args()
    logs.install()
    print(f"seed {asked.seed}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="offtake-soak-")))
        url = new_database(stack.enter_context(postgres_server())) if asked.database == "postgresql" else None
        place = Place(folder / "data", url, FastClock(Clock().now_ms(), asked.speed))
        wrong = _soak(place, asked)
    raise SystemExit(1 if wrong else 0)


def _soak(place: Place, asked: argparse.Namespace) -> int:
    dice = random.Random(asked.seed)
    source: dict[str, int] = {}
    with place.opened() as backend:
        flows = _set_up(backend, asked.flows, asked.datasets, source)
        crew = Crew(
            place,
            {"scheduler": ProcessRoles(works=False)} | {f"worker-{n}": ProcessRoles(schedules=False) for n in (1, 2)},
        )
        tally, until = Tally(), time.monotonic() + asked.minutes * 60
        sending = threading.Event()
        sender = threading.Thread(target=_send_on, args=(backend, source, sending, random.Random(asked.seed)))
        sender.start()
        try:
            while time.monotonic() < until:
                crew.keep_up()
                time.sleep(dice.uniform(1, 4))
                _harm(crew, dice, tally)
            sending.set()
            sender.join()
            _settle(backend, crew)
        finally:
            sending.set()
            crew.stop()
    return _judge(place, flows, source, tally)


def _serve(place: Place, name: str, duties: ProcessRoles) -> None:
    logs.install()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with place.opened() as backend, background_services(backend, name, duties):
        stop.wait()


def _harm(crew: Crew, dice: random.Random, tally: Tally) -> None:
    name = dice.choice(sorted(crew.processes))
    family = crew.family(name)
    if not family:
        return
    what = dice.choices(("killed", "a child killed", "paused"), (6, 2, 2))[0]
    kind = name.partition("-")[0]
    with contextlib.suppress(psutil.NoSuchProcess):
        if what == "killed":
            family[0].kill()
        elif what == "a child killed":
            dice.choice(family[1:] or family).kill()
        else:
            for one in family:
                one.suspend()
            time.sleep(LEASE_SECONDS * 1.5)
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.resume()
    tally.kills[f"{kind} {what}"] += 1


def _settle(backend: Backend, crew: Crew) -> None:
    """Until every batch is in, and every flow has delivered since."""
    crew.keep_up()
    while _count(backend, select(func.count()).select_from(Batch).where(Batch.status.in_(("staged", "processing")))):
        crew.keep_up()
        time.sleep(1)
    since = backend.clock.now_ms()
    late = (
        select(func.count())
        .select_from(Flow)
        .where(~select(Run.id).where(Run.flow_id == Flow.id, Run.status == "success", Run.created_at > since).exists())
    )
    until = time.monotonic() + 900
    while _count(backend, late) and time.monotonic() < until:
        crew.keep_up()
        time.sleep(1)


def _count(backend: Backend, query: Any) -> int:  # noqa: ANN401 - a statement of any shape that counts
    with backend.database.reading() as session:
        return session.scalar(query) or 0


def _set_up(backend: Backend, flow_count: int, dataset_count: int, source: dict[str, int]) -> dict[str, str]:
    """Flows, each with a folder of its own; the dataset of each."""
    clients.create_organisation(backend.database, backend.clock)
    caller = access.operator_caller(backend.database)
    now = backend.clock.now_ms()
    flows: dict[str, str] = {}
    with backend.database.writing() as session:
        ids = [datasets.create(session, caller, {"name": f"events {n}"}, now).id for n in range(dataset_count)]
        session.flush()
        base = connections.create(
            session, caller, backend.vault, backend.network, {"name": "zone", "connectionSpec": ZONE}, now
        )
        session.flush()
        for number in range(flow_count):
            dataset = ids[number % dataset_count]
            start = now // 1000 + number * 3 * 3600 // flow_count
            flows[add_flow(session, backend, caller, (dataset, base.id, f"copy-{number}"), start)] = (
                f"copy-{number}/{dataset}"
            )
    source.update(dict.fromkeys(ids, 0))
    return flows


def add_flow(session: Session, backend: Backend, caller: Caller, ends: tuple[str, str, str], start: int) -> str:
    """From a dataset, over a base connection, to a folder, every three hours; its id."""
    dataset, base, folder = ends
    now = backend.clock.now_ms()
    made: Any = {"name": "s", "connectionSpec": LAKE, "params": {"datasets": [{"dataSetId": dataset}]}}
    source = source_connections.create(session, caller, made, now)
    params = {"path": folder, "datasetFileType": "PARQUET", "compression": "GZIP", "includeFileManifest": True}
    aim: Any = {"name": "t", "baseConnectionId": base, "connectionSpec": ZONE, "params": params}
    target = target_connections.create(session, caller, aim, now)
    session.flush()
    schedule = {"timeUnit": "hour", "interval": 3, "startTime": start}
    to: Any = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
    body: Any = {"name": folder, "flowSpec": FLOW_SPEC, "scheduleParams": schedule, **to}
    flow = flows.create(session, caller, body, now, backend.schedule_rules)
    session.flush()
    return flow.id


def _send_on(backend: Backend, source: dict[str, int], over: threading.Event, dice: random.Random) -> None:
    """A batch of numbered rows for some dataset, about every second."""
    caller = access.operator_caller(backend.database)
    while not over.wait(dice.uniform(0.5, 1.5)):
        dataset = dice.choice(sorted(source))
        first = source[dataset]
        text = "".join(json.dumps({"id": n, "town": f"town {n % 7}"}) + "\n" for n in range(first, first + ROWS))
        body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
        now = backend.clock.now_ms()
        try:
            with backend.database.writing() as session:
                batch = batches.create(session, caller, body, now)
                incoming = backend.uploads.receive(batch.id, "a.json")
                incoming.write(text.encode())
                incoming.finish()
                incoming.publish()
                incoming.close()
                uploaded_files.put(
                    session, caller, uploaded_files.upload_target(batch.id, dataset, "a.json"), len(text), now
                )
                batches.act(session, caller, batch, "COMPLETE", now)
        except StoreBusyError:
            # A process was paused while it held the database's lock; nothing was written, so the same rows come next.
            continue
        source[dataset] = first + ROWS


def _judge(place: Place, flows: dict[str, str], source: dict[str, int], tally: Tally) -> int:
    """Sweep a day later, read every copy, print what was found; how many copies are wrong."""
    later = FastClock(place.clock.origin_ms + 86_400_000, place.clock.speed)
    with place.opened(later) as backend:
        while any(True for _ in remove_orphans(backend)):
            pass
        with backend.database.reading() as session:
            runs = session.scalars(select(Run)).all()
    zone = place.folder / "landing-zone" / "prod"
    wrong = [flow for flow, copy in flows.items() if not _is_whole(zone, copy, source)]
    ended = Counter(run.status for run in runs)
    slots = Counter((run.flow_id, run.scheduled_at) for run in runs)
    files = sum(1 for path in zone.rglob("*") if path.is_file())
    print(f"harm: {dict(sorted(tally.kills.items()))}, {tally.kills.total()} in all")
    print(
        f"runs: {dict(ended)}; taken up again {sum(run.fence > 1 for run in runs)} times, at most {_most(runs)} times"
    )
    print(f"slots that ran twice: {sum(count > 1 for count in slots.values())}")
    print(f"rows in the sources: {sum(source.values()):,}; files delivered: {files:,}")
    print(f"copies: {len(flows)}, of which wrong: {len(wrong)} {wrong[:5]}")
    return len(wrong)


def _most(runs: Sequence[Run]) -> int:
    return max((run.fence for run in runs), default=1) - 1


def _is_whole(zone: Path, copy: str, source: dict[str, int]) -> bool:
    """Whether the manifests' files hold the source's rows once each, as they say, and there are no other files."""
    folder, _, dataset = copy.partition("/")
    named: set[Path] = set()
    ids: list[int] = []
    for path in (zone / folder).rglob("manifest-*.json"):
        named.add(path)
        for one in json.loads(path.read_text())["exportResults"]:
            file = zone / one["sinkPath"].lstrip("/") / one["name"]
            named.add(file)
            if hashlib.sha256(file.read_bytes()).hexdigest() != one["sha256"]:
                return False
            ids += pq.read_table(file, columns=["id"])["id"].to_pylist()
    there = {path for path in (zone / folder).rglob("*") if path.is_file()}
    return sorted(ids) == list(range(source[dataset])) and there == named


if __name__ == "__main__":
    main()
