"""The commands and documents that the README opens with, as written, against an S3 server."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests import commands
from tests.servers import S3Server, rclone_s3

README = Path(__file__).parents[2] / "README.md"
BUCKET = "partner-bucket"


def section_of(heading: str) -> str:
    """The text of a section."""
    return README.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]


def commands_of(heading: str) -> list[list[str]]:
    """The commands of a section, without the program's name."""
    return [shlex.split(line) for line in re.findall(r"^    offtake (.*)$", section_of(heading), re.MULTILINE)]


def environment_of(server: S3Server, folder: Path) -> dict[str, str]:
    return os.environ | {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_ENDPOINT_URL": server.endpoint,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def run(words: Sequence[str], environment: dict[str, str], folder: Path, code: int = 0) -> str:
    """Execute a command of the README in a folder; returns its standard output."""
    given = [environment[word[1:]] if word.startswith("$") else word for word in words]
    if words[:2] == ["connection", "create"]:
        given += ["--endpoint-url", environment["AWS_ENDPOINT_URL"]]
    done = commands.run(given, environment, prepare=Inside(folder))
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def test_the_file_of_the_readme_is_delivered_to_s3(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("id,city\n1,Bern\n2,Graz\n")
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        for words in commands_of("Deliver a file to S3"):
            run(words, environment_of(server, tmp_path), tmp_path)
        keys = [one["Key"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert len(keys) == 2, "one by copy, one by the flow's run"


def test_the_documents_of_the_readme_are_applied_and_deliver(tmp_path: Path) -> None:
    """In a deployment that has the dataset only."""
    (tmp_path / "events.csv").write_text("id,city\n1,Bern\n2,Graz\n")
    compare, apply = commands_of("The same as YAML")
    first = [words for words in commands_of("Deliver a file to S3") if words[0] in {"init", "dataset"}]
    (text,) = re.findall(r"```yaml\n(.*?)```", section_of("The same as YAML"), re.DOTALL)
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        environment = environment_of(server, tmp_path)
        text = text.replace("params:\n", f"params:\n  endpointUrl: {server.endpoint}\n")
        (tmp_path / "exports.yaml").write_text(text)
        for words in first:
            run(words, environment, tmp_path)
        assert "2 to create" in run(compare, environment, tmp_path, code=1)
        run([*apply, "--yes"], environment, tmp_path)
        run(compare, environment, tmp_path)
        run(["flow", "run", "events-out", "--wait"], environment, tmp_path)
        (key,) = [one["Key"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert key.startswith("events/")


def test_the_copy_of_the_readme_delivers(tmp_path: Path) -> None:
    words = next(one for one in commands_of("Deliver a file to S3") if one[0] == "copy")
    (tmp_path / "events.csv").write_text("id,city\n1,Bern\n2,Graz\n")
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        run(words, environment_of(server, tmp_path), tmp_path)
        (key,) = [one["Key"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert key.startswith("events/part-")


class Inside:
    """Changes into a folder, in the process of a command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> None:
        os.chdir(self._folder)
