"""Files made to end the server, to hold it up or to fill its memory cost their own batch, and nothing else."""

import gzip
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import parquet_bombs
from tests.attacks.server import CATALOG, IMPORT, Server, serving
from tests.processes import running

MEMORY = 512 * 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), import_memory_bytes=MEMORY, import_seconds=6) as started:
        yield started


def parquet(write: Callable[[Path], None], folder: Path) -> bytes:
    write(folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


endless, growing = (partial(parquet, write) for write in (parquet_bombs.write_endless, parquet_bombs.write_growing))


def many_columns(form: str) -> bytes:
    names = [f"c{number}" for number in range(20_000)]
    if form == "csv":
        return f"{','.join(names)}\n{','.join('1' for _ in names)}\n".encode()
    if form == "lines":
        return "".join(f'{{"{name}":1}}\n' for name in names).encode()
    return ("{" + ",".join(f'"{name}":1' for name in names) + "}\n").encode()


def nested(levels: int, form: str = "lines") -> bytes:
    one = b'{"a":' * levels + b"1" + b"}" * levels
    return b"[" + one + b"]" if form == "document" else one


def dataset(server: Server, name: str) -> str:
    found: str = server.call("POST", f"{CATALOG}/dataSets", json={"name": name}).json()[0].split("/")[-1]
    return found


def send(server: Server, dataset_id: str, content: bytes, form: str = "json", name: str = "a") -> str:
    """The id of a completed batch with one file."""
    body = {"datasetId": dataset_id, "inputFormat": {"format": form}}
    batch: str = server.call("POST", f"{IMPORT}/batches", json=body).json()["id"]
    path = f"{IMPORT}/batches/{batch}"
    kind = {"Content-Type": "application/octet-stream"}
    server.call("PUT", f"{path}/datasets/{dataset_id}/files/{name}", content=content, headers=kind).raise_for_status()
    server.call("POST", f"{path}?action=COMPLETE").raise_for_status()
    return batch


def state(server: Server, batch: str) -> Any:
    return server.call("GET", f"{CATALOG}/batches/{batch}").json()[batch]


def ended(server: Server, batch: str, seconds: float = 90) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = state(server, batch)
        if found["status"] in {"success", "failed"}:
            return found
        time.sleep(0.1)
    pytest.fail(f"batch {batch} is {found['status']}")


def resident(server: Server) -> int:
    """What the largest of the server's processes has in memory, in bytes.

    Not their sum: it counts the pages they share several times, and the server replaces parsers when it likes.
    """
    process = psutil.Process(server.process.pid)
    return max(int(one.memory_info().rss) for one in (process, *process.children(recursive=True)))


def readers(server: Server) -> list[psutil.Process]:
    return running("offtake.engines.parser_process", psutil.Process(server.process.pid).children())


BOMBS = [
    ("nested lines", "json", lambda _: nested(20_000), "nested deeper than 64 levels"),
    ("a nested document", "json", lambda _: nested(20_000, "document"), "nested deeper than 64 levels"),
    ("65 levels", "json", lambda _: nested(65), "nested deeper than 64 levels"),
    ("columns of CSV", "csv", lambda _: many_columns("csv"), "more than 10,000 columns"),
    (
        "fields of a row of CSV",
        "csv",
        lambda _: b"a,b\n" + b"," * 1_000_000 + b"\n",
        "line 2: more than 10,000 columns",
    ),
    ("fields of a line", "json", lambda _: many_columns("line"), "more than 10000 fields"),
    ("fields of many lines", "json", lambda _: many_columns("lines"), "more than 10000 fields"),
    (
        "growing Parquet",
        "parquet",
        growing,
        f"more than {MEMORY // 2**20} MiB of memory",
    ),
    ("endless Parquet", "parquet", endless, "seconds"),
    ("a long line", "json", lambda _: b'{"a":"' + b"x" * (70 * 2**20) + b'"}', "longer than"),
    ("growing gzip", "gzip", lambda _: gzip.compress(b'{"a":"' + b"x" * (300 * 2**20), 1), "longer than"),
]


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize(("form", "make", "reason"), [one[1:] for one in BOMBS], ids=[one[0] for one in BOMBS])
def test_a_hostile_file_is_refused_by_the_bound_it_breaks_while_other_datasets_go_on(
    server: Server, tmp_path: Path, form: str, make: Any, reason: str
) -> None:
    bad, good = dataset(server, f"bad {tmp_path.name}"), dataset(server, f"good {tmp_path.name}")
    ended(server, send(server, good, b'{"a":1}'))
    before = resident(server)
    name, form = ("a.json.gz", "json") if form == "gzip" else ("a", form)
    batch = send(server, bad, make(tmp_path), form, name)
    begun = time.monotonic()
    assert ended(server, send(server, good, b'{"a":2}'))["status"] == "success"
    assert time.monotonic() - begun < 30
    failed = ended(server, batch)
    assert failed["status"] == "failed"
    assert reason in failed["errors"][0]["description"]
    assert server.process.poll() is None
    assert resident(server) < before + 100 * 2**20


def test_previews_and_dry_runs_of_hostile_files_are_refused_too(server: Server) -> None:
    target = dataset(server, "previewed")
    for content, form, status in ((nested(20_000), "json", 400), (many_columns("csv"), "csv", 400)):
        body = {"datasetId": target, "inputFormat": {"format": form}}
        batch = server.call("POST", f"{IMPORT}/batches", json=body).json()["id"]
        path = f"{IMPORT}/batches/{batch}/datasets/{target}"
        kind = {"Content-Type": "application/octet-stream"}
        server.call("PUT", f"{path}/files/a", content=content, headers=kind).raise_for_status()
        for act in ("preview", "dryRun"):
            assert server.call("GET", f"{path}/{act}").status_code == status
    assert server.process.poll() is None


def test_a_reader_that_is_killed_is_replaced_and_its_batch_comes_in(server: Server) -> None:
    target = dataset(server, "killed")
    rows = b'{"a":1}\n' * 2_000_000
    known = {one.pid for one in readers(server)}
    batch = send(server, target, rows)
    until = time.monotonic() + 30
    while state(server, batch)["status"] != "processing" and time.monotonic() < until:
        time.sleep(0.02)
    for one in readers(server):
        one.kill()
    assert ended(server, batch)["status"] == "success"
    assert known.isdisjoint({one.pid for one in readers(server)})
    assert server.call("GET", f"{CATALOG}/batches/{batch}").json()[batch]["metrics"]["outputRecordCount"] == 2_000_000
