"""Real servers for the tests, each on a free loopback port. A missing program is a failure, never a skip."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import boto3
import httpx2
import trustme
import uvicorn
from fastapi import FastAPI

_CLONE_NEWNS = 0x20000
"""The flag of unshare(2) for a mount namespace of its own."""


@dataclass(frozen=True)
class S3Server:
    """An S3 server that checks keys and signatures; buckets are the folders below `root`."""

    endpoint: str
    access_key: str
    secret_key: str
    root: Path
    ca_file: str | None = None
    """PEM of who certified the server, where it speaks TLS."""

    def client(self) -> Any:
        """The vendor's own client of this server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=self.ca_file,
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket. Through the server: what is made behind it, it would see only later."""
        self.client().create_bucket(Bucket=name)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application behind a web server of its own; its origin."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended at once"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def rclone_s3(
    root: Path, authority: trustme.CA | None = None, *, small: bool = False, port: int | None = None
) -> Iterator[S3Server]:
    """`rclone serve s3` over a folder, with TLS where there is an authority; `small`: on a disk of 12 MiB."""
    program = Path(sys.executable).with_name("rclone")
    assert program.exists(), "rclone is not installed; run: make test"
    port = port or free_port()
    server = S3Server(f"http://127.0.0.1:{port}", "TESTKEY", "testsecret", root)
    if authority is not None:
        server = replace(server, endpoint=f"https://localhost:{port}", ca_file=f"{root}-ca.pem")
    command: list[str | Path] = [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"]
    keys = ["--auth-key", f"{server.access_key},{server.secret_key}"]
    if authority is not None:
        keys += _certified(authority, root)
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*(on_a_small_disk(root) if small else []), *command, *keys, "-vv"], env=environment, stdout=log, stderr=log
        )
        try:
            await_port(port, process)
            yield server
        finally:
            process.kill()  # what is kept alive by idle connections ends too
            process.wait(20)
            shutil.rmtree(root, ignore_errors=True)
            log.seek(max(0, log.tell() - 20_000))
            print(log.read().decode(errors="replace"))  # pytest shows it with a failure


def _certified(authority: trustme.CA, root: Path) -> list[str]:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(f"{root}-key.pem")
    Path(f"{root}-cert.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    Path(f"{root}-ca.pem").write_bytes(authority.cert_pem.bytes())
    return ["--cert", f"{root}-cert.pem", "--key", f"{root}-key.pem"]


def on_a_small_disk(folder: Path) -> list[str]:
    """A command prefix that mounts a disk of 12 MiB at the folder, visible to that command only. Needs root."""
    mount = f"mount -t tmpfs -o size=12m tmpfs '{folder}' && exec \"$@\""
    return ["unshare", "--mount", "sh", "-c", mount, "sh"]


def enter_small_disk(folder: Path) -> None:
    """Let the process that calls it see such a disk there."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    # What is mounted from now on is not seen outside.
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=True)


class Process(Protocol):
    """What is asked of a process that a test waits for."""

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""


def await_port(port: int, process: Process) -> None:
    """Wait until something listens on the port; fails when the process ends first."""
    for _ in range(1200):
        assert process.poll() is None, "the server ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not listen")


@dataclass(frozen=True)
class Amazon:
    """S3, IAM and STS by moto, which checks every request against the policies of the user who signed it."""

    endpoint: str
    access_key: str
    secret_key: str
    ca_file: str | None = None
    """PEM of who certified the server, where it speaks TLS; then everybody may do everything."""

    def client(self, service: Any) -> Any:
        """The vendor's own client, as a user with all permissions."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=self.ca_file,
        )

    def user(self, name: str, actions: list[str]) -> tuple[str, str]:
        """The access key and secret of a new user who may do just that, everywhere."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(actions))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, name: str, actions: list[str]) -> str:
        """The ARN of a new role that may do just that."""
        iam = self.client("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(["sts:AssumeRole"]))
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_policy(actions))
        arn: str = made["Role"]["Arn"]
        return arn


def _policy(actions: list[str]) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@contextmanager
def amazon(folder: Path | None = None, authority: trustme.CA | None = None) -> Iterator[Amazon]:
    """moto's server, in a separate process; with an authority it speaks TLS, and its files are next to `folder`."""
    program = Path(sys.executable).with_name("moto_server")
    assert program.exists(), "moto is not installed; run: make test"
    port = free_port()
    with tempfile.TemporaryFile() as log:
        command: list[str | Path] = [program, "-H", "127.0.0.1", "-p", str(port)]
        if authority is not None and folder is not None:
            _, certificate, _, key = _certified(authority, folder)
            command += ["-s", "-c", certificate, "-k", key]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            await_port(port, process)
            if authority is None:
                yield _with_an_administrator(f"http://127.0.0.1:{port}")
            else:
                yield Amazon(f"https://localhost:{port}", "anybody", "anything", f"{folder}-ca.pem")
        finally:
            process.kill()  # what is kept alive by idle connections ends too
            process.wait(20)


def _with_an_administrator(endpoint: str) -> Amazon:
    """Until the first one is there, moto lets everybody do everything."""
    admin = Amazon(endpoint, *Amazon(endpoint, "unknown", "nothing").user("administrator", ["*"]))
    headers = {"Content-Type": "text/plain"}
    httpx2.post(f"{endpoint}/moto-api/reset-auth", content="0", headers=headers).raise_for_status()
    return admin
