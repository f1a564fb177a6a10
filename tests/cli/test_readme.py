"""The commands that the README opens with, as written, against an S3 server."""

import os
import re
import shlex
from pathlib import Path

import pytest

from offtake.cli.commands import COMMANDS, Group
from tests import commands
from tests.servers import S3Server, rclone_s3

README = Path(__file__).parents[2] / "README.md"
BUCKET = "partner-bucket"


def commands_of(heading: str) -> list[list[str]]:
    """The commands of a section, without the program's name."""
    section = README.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"^    offtake (.*)$", section, re.MULTILINE)]


def exists(words: list[str]) -> bool:
    """Whether there is a command with the first words."""
    entry = COMMANDS.get(words[0])
    return words[1] in entry.commands if isinstance(entry, Group) else entry is not None


def environment_of(server: S3Server, folder: Path) -> dict[str, str]:
    return os.environ | {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_ENDPOINT_URL": server.endpoint,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def test_the_file_of_the_readme_is_delivered_to_s3(tmp_path: Path) -> None:
    found = commands_of("Deliver a file to S3")
    if not all(exists(words) for words in found):
        pytest.skip("connections and flows are not created from the terminal yet")
    (tmp_path / "events.csv").write_text("id,city\n1,Bern\n2,Graz\n")
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        environment = environment_of(server, tmp_path)
        for words in found:
            given = [environment[word[1:]] if word.startswith("$") else word for word in words]
            if words[:2] == ["connection", "create"]:
                given += ["--endpoint-url", server.endpoint]
            done = commands.run(given, environment, prepare=Inside(tmp_path))
            assert done.returncode == 0, (words, done.stderr)
        keys = [one["Key"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert len(keys) == 2, "one by copy, one by the flow's run"


def test_the_copy_of_the_readme_delivers(tmp_path: Path) -> None:
    words = next(one for one in commands_of("Deliver a file to S3") if one[0] == "copy")
    (tmp_path / "events.csv").write_text("id,city\n1,Bern\n2,Graz\n")
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        done = commands.run(words, environment_of(server, tmp_path), prepare=Inside(tmp_path))
        assert done.returncode == 0, done.stderr
        (key,) = [one["Key"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert key.startswith("events/part-")


class Inside:
    """Changes into a folder, in the process of a command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> None:
        os.chdir(self._folder)
