"""How fast a file goes to an SFTP server: ours against OpenSSH's `sftp` and the library's own client, same cipher.

`python -m bench.sftp [--mib 768] [--rounds 5]` starts OpenSSH's server, sends the same file from memory by each client
in shuffled rounds, each in a process of its own. Seconds are from logging in to the connection's end; processor time is
of the client and its children, without the interpreter's start for those in Python. Needs root, as
tests/ssh_server.py does.
"""

import argparse
import asyncio
import base64
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from offtake.destinations import schema, sftp
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from tests.ssh_server import SshServer, sshd

CIPHER: Final = "aes128-gcm@openssh.com"
MIB: Final = 1024 * 1024
NAME: Final = "sent.bin"


@dataclass(frozen=True)
class Result:
    """One upload: MB/s, processor seconds a GB, and the MB by which resident memory rose at its highest."""

    speed: float
    cpu: float
    added: float | None = None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.sftp", description=__doc__)
    parser.add_argument("--mib", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--as-client", nargs=4, metavar=("NAME", "PORT", "KEY", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_client:
        name, port, key, file = asked.as_client
        CLIENTS[name](int(port), Path(key), Path(file))
        return
    # In memory, so that no disk is measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        compare(Path(folder), asked.mib, asked.rounds)


def compare(folder: Path, mib: int, rounds: int) -> None:
    """Every client in every round, in another order each time."""
    folder.chmod(0o755)
    file = folder / "file"
    with file.open("wb") as made:
        for _ in range(mib):
            made.write(os.urandom(MIB))
    names = ["sftp", *CLIENTS]
    results: dict[str, list[Result]] = {name: [] for name in names}
    with sshd(folder / "server", f"Ciphers {CIPHER}") as server:
        key = folder / "key"
        key.write_bytes(base64.b64decode(server.key))
        key.chmod(0o600)
        for _ in range(rounds):
            for name in random.sample(names, len(names)):
                results[name].append(measured(name, server, key, file))
    print(f"{mib} MiB, {rounds} rounds; median [lowest to highest]; of sftp: median of each round's own ratio")
    print(f"{'client':<12}{'MB/s':>20}{'of sftp':>20}{'CPU s/GB':>10}{'added MB':>10}")
    for name in names:
        speeds = [one.speed for one in results[name]]
        ratios = [one.speed / other.speed for one, other in zip(results[name], results["sftp"], strict=True)]
        cpu = statistics.median(one.cpu for one in results[name])
        added = max((one.added for one in results[name] if one.added is not None), default=None)
        memory = "" if added is None else f"{added:.0f}"
        print(f"{name:<12}{spread(speeds, 0):>20}{spread(ratios, 2):>20}{cpu:>10.2f}{memory:>10}", flush=True)


def spread(found: list[float], digits: int) -> str:
    """`median [lowest to highest]`."""
    return f"{statistics.median(found):.{digits}f} [{min(found):.{digits}f} to {max(found):.{digits}f}]"


def measured(name: str, server: SshServer, key: Path, file: Path) -> Result:
    """One client's upload, looked at from behind afterwards."""
    command = [sys.executable, "-m", "bench.sftp", "--as-client", name, str(server.port), str(key), str(file)]
    if name == "sftp":
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        batch = key.with_name("batch")
        batch.write_text(f"put {file} {NAME}\n")
        login = [f"{server.username}@{server.host}"]
        command = ["sftp", "-q", "-b", str(batch), "-i", str(key), "-P", str(server.port), "-c", CIPHER]
        command += [part for option in options for part in ("-o", option)] + login
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        figures = process.stdout.read().split()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - started
    assert process.returncode == 0, name
    arrived = server.root / NAME
    size = arrived.stat().st_size
    assert size == file.stat().st_size, name
    arrived.unlink()
    if name == "sftp":
        return Result(size / 1e6 / took, (used.ru_utime + used.ru_stime) / (size / 1e9))
    seconds, cpu, added = (float(one) for one in figures)
    return Result(size / 1e6 / seconds, cpu / (size / 1e9), added / 1e6)


def ours(port: int, key: Path, file: Path) -> None:
    """The destination's sink, from an iterator of chunks as encoders give them."""
    text = base64.b64encode(key.read_bytes()).decode()
    params = {"domain": "127.0.0.1", "port": port, "username": "drop", "sshKey": text}
    credentials = schema.parse_credentials(sftp.DESTINATION, "SFTP with SSH Key", params)
    location = {"datasetFileType": "JSON", "compression": "GZIP", "remotePath": "out"}
    target = schema.parse_target_params(sftp.DESTINATION, location)
    sftp.open_sink(
        credentials, target, SandboxLocation("bench", FolderZones(file.parent))
    ).close()  # imports the library

    def upload() -> None:
        sink = sftp.open_sink(credentials, target, SandboxLocation("bench", FolderZones(file.parent)))
        sink.put(NAME, chunks(file))
        sink.close()

    timed(upload)


def library(port: int, key: Path, file: Path) -> None:
    """The SSH library's own SFTP client, chunk by chunk."""
    from offtake.destinations.drivers.asyncssh_logging import asyncssh  # noqa: PLC0415 - only this client needs it by itself

    async def upload() -> None:
        async with (
            asyncssh.connect(
                "127.0.0.1", port, username="drop", client_keys=[str(key)], known_hosts=None, config=[]
            ) as connection,
            connection.start_sftp_client() as client,
            client.open(NAME, "wb") as made,
        ):
            for chunk in chunks(file):
                await made.write(chunk)

    timed(lambda: asyncio.run(upload()))


def chunks(file: Path) -> Iterator[bytes]:
    """The file in chunks of 4 MiB."""
    with file.open("rb", buffering=0) as source:
        while chunk := source.read(4 * MIB):
            yield chunk


def timed(upload: Callable[[], None]) -> None:
    """Print the upload's seconds, its processor seconds and the bytes by which memory rose at its highest."""
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak memory of this process
    started, cpu = time.monotonic(), time.process_time()
    upload()
    seconds, used = time.monotonic() - started, time.process_time() - cpu
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(seconds, used, int(status["VmHWM"].split()[0]) * 1024 - before)


CLIENTS: Final = {"ours": ours, "asyncssh": library}

if __name__ == "__main__":
    main()
