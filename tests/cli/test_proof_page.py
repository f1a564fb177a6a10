"""What docs/proof.md tells consumers to run."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deployment import WITH_MANIFEST, Deployment, rows

PAGE = (Path(__file__).parents[2] / "docs" / "proof.md").read_text()


@pytest.mark.parametrize("file_type", ["PARQUET", "JSON"])
def test_the_command_for_consumers_finds_what_is_missing_or_altered(deployed: Deployment, file_type: str) -> None:
    dataset, other = deployed.import_rows("events", rows(0, 5)), deployed.import_rows("others", rows(0, 5))
    deployed.flow(dataset, other, params={"datasetFileType": file_type, **WITH_MANIFEST})
    deployed.run_due()
    (manifest,) = deployed.manifest_files()
    one, two = deployed.delivered(json.loads(manifest.read_text()))
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

    def check() -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=deployed.zone,
            env={**os.environ, "MANIFEST": str(manifest), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    code, out = check()
    assert (code, out.count(": OK\n")) == (0, 2)
    one.write_bytes(bytes(one.stat().st_size))
    code, out = check()
    assert code == 1
    assert f"{one.name}: FAILED\n" in out
    assert f"{two.name}: OK\n" in out
    two.unlink()
    assert f"{two.name}: FAILED open or read\n" in check()[1]


def test_the_manifest_that_is_shown_has_the_keys_of_a_real_one(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    deployed.run_due()
    (real,) = (json.loads(file.read_text()) for file in deployed.manifest_files())
    (shown,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    assert list(shown) == list(real)
    for key in ("exportResults", "datasets"):
        assert list(shown[key][0]) == list(real[key][0])
