"""Runs the steps of deploy/Containerfile that build Offtake, in clean folders, where no container can be built.

`make image-check`. The base's Python is the one that runs this script. Steps of the last stage, which install packages
of the distribution and create a user, are listed and not run.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[2]
FILE: Final = TOP / "deploy" / "Containerfile"


def steps(text: str) -> list[tuple[int, str, str]]:
    """The instructions with their stage, continuation lines joined; comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = []
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            found.append((stage, name, rest.strip()))
    return found


def allowed() -> set[str]:
    """The paths of the build context."""
    lines = (TOP / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def main() -> None:
    """Run the steps, then two commands of what they built, in a directory that only they can write."""
    with tempfile.TemporaryDirectory(prefix="offtake-image-") as name:
        folder = Path(name)
        build, installed = folder / "build", folder / "opt" / "offtake"
        build.mkdir()
        for stage, instruction, rest in steps(FILE.read_text()):
            if instruction == "COPY" and stage == 0:
                *sources, target = rest.split()
                for source in sources:
                    assert source in allowed(), f"{source} is not in .dockerignore's list"
                    _copy(TOP / source, build / target, folder=target.endswith("/"))
            elif instruction == "RUN" and stage == 0:
                command = rest.replace("/opt/offtake", str(installed)).replace("/build", str(build))
                command = re.sub(r"^python ", f"{sys.executable} ", command)
                print("RUN", command.replace(name, ""), flush=True)
                subprocess.run(["sh", "-ec", command], cwd=build, check=True, stdout=subprocess.DEVNULL)
            elif instruction == "RUN":
                print("not run:", rest)
        shutil.rmtree(build)
        for words in (["--version"], ["init", "--data-dir", str(folder / "data")]):
            subprocess.run([installed / "bin" / "offtake", *words], check=True, cwd=folder, env={"HOME": name})
        size = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file() and not path.is_symlink())
        print(f"/opt/offtake has {size / 1e6:.0f} MB")


def _copy(source: Path, target: Path, *, folder: bool) -> None:
    if folder:
        target /= source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    main()
