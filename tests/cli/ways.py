"""A server over the network for commands: the API of a deployment, on a socket of this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
import uvicorn

from offtake.api.serving.listeners import bind
from tests.deployment import Deployment


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an ASGI application; its URL."""
    (listener,) = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    port = listener.getsockname()[1]
    listener.listen()
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def sign_in(deployed: Deployment, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands with that URL act as the deployment's administrator, by its `admin.json`."""
    data_dir = deployed.backend.settings.data_dir
    (data_dir / "admin.json").write_text(json.dumps({"origin": url} | asdict(deployed.admin)))
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(data_dir))


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
    """Keep profiles and tokens of commands in that folder."""
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    for name in ("SERVER", "CLIENT_ID", "CLIENT_SECRET", "ORGANISATION", "SANDBOX", "TOKEN_URL"):
        monkeypatch.delenv(f"OFFTAKE_{name}", raising=False)
