"""The commands `apply`, `diff` and `export` of tests, in the same process and over the network."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.deployment.backend import open_backend
from tests.cli.ways import isolate, listening, sign_in
from tests.deployment import Deployment
from tests.local_parsers import LocalParsers

WAYS = ("in the same process", "over the network")


@dataclass
class Applying:
    """Commands on a deployment, and a folder for documents."""

    option: tuple[str, str]
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main([*arguments, *self.option])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def write(self, text: str, name: str = "documents.yaml") -> str:
        file = self.folder / name
        file.write_text(text)
        return str(file)

    def apply(self, text: str, *options: str) -> str:
        """Apply documents; what is printed."""
        code, out, err = self.run("apply", "-f", self.write(text), "--yes", *options)
        assert code == 0, out + err
        return out

    def refused(self, text: str, *options: str) -> str:
        """Apply documents that are refused; all of standard error."""
        code, out, err = self.run("apply", "-f", self.write(text), "--yes", *options)
        assert code == 1, out
        return err

    def plan(self, text: str, *options: str) -> list[Any]:
        """The changes that `diff` finds."""
        code, out, err = self.run("diff", "-f", self.write(text), "--json", *options)
        assert code in (0, 1), err
        found = json.loads(out)
        assert found["differs"] == (code == 1)
        changes: list[Any] = found["changes"]
        return changes

    def actions(self, text: str, *options: str) -> dict[str, str]:
        """What `diff` finds, by kind and name."""
        return {f"{one['kind']} {one['name']}": one["action"] for one in self.plan(text, *options)}

    def export(self, *arguments: str) -> str:
        code, out, err = self.run("export", *arguments)
        assert code == 0, err
        return out


def fields(change: Any) -> dict[str, tuple[Any, Any]]:
    """The fields of a change: old and new."""
    return {one["field"]: (one["old"], one["new"]) for one in change["fields"]}


@contextmanager
def applying(
    way: str, deployed: Deployment, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Applying]:
    isolate(monkeypatch, folder)
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    monkeypatch.setattr("offtake.cli.local.open_backend", partial(open_backend, parsers_of=LocalParsers.of))
    (documents := folder / "documents").mkdir()
    if way == WAYS[0]:
        option = ("--data-dir", str(deployed.backend.settings.data_dir))
        yield Applying(option, documents, capsys)
        return
    monkeypatch.setattr("offtake.client.remote.Remote.now", lambda _: deployed.clock.now_ms() / 1000)
    with listening(deployed.http.app) as url:
        sign_in(deployed, url, monkeypatch)
        yield Applying(("--server", url), documents, capsys)
