"""`offtake usage` and `offtake quota`, in the same process and over the network."""

import pytest

from offtake.cli.main import main
from tests.cli.test_both_ways import Way, json_of, refused, says, way
from tests.deployment import Deployment, rows

__all__ = ["way"]


def test_usage_and_quotas(deployed: Deployment, way: Way) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 20)))
    deployed.run_due()
    found = json_of(way, "usage", "--month", "2026-03", "--by", "dataset,month")
    assert [(one["month"], one["datasetName"], one["recordCount"]) for one in found["items"]] == [
        ("2026-03", "events", 20)
    ]
    header, line = says(way, "usage").splitlines()
    assert header.split("\t") == ["DATASET", "DESTINATION", "ROWS", "SIZE", "FILES", "CPU SECONDS"]
    assert line.split("\t")[:3] == ["events", "zone", "20"]
    assert says(way, "usage", "--month", "2025-01") == ""
    assert "is not one of" in refused(way, "usage", "--by", "size")

    assert "1,500,000 a month; 20 are used" in says(way, "quota", "set", "rows", "1.5M")
    deployed.clock.advance(hours=3)
    assert "quota of 7 rows is reached: 20 are used" in says(way, "quota", "set", "rows", "7")
    deployed.run_due()
    assert "waiting for it: 1 run" in says(way, "quota", "list")
    assert json_of(way, "quota", "list")["items"][0]["limit"] == 7
    assert "offtake quota list" in says(way, "status")
    assert json_of(way, "quota", "remove", "rows") == {"measure": "rows", "heldRunCount": 0}
    assert says(way, "quota", "list") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("size", "1"), "size cannot be limited; give one of rows, bytes, files, compute-seconds."),
        (("rows", "-1"), "-1"),
        (("rows", "many"), "many is not a limit; give a number such as 5000000, 500G or 1.5T."),
    ],
)
def test_a_wrong_quota_is_refused(
    standing: Deployment, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], message: str
) -> None:
    data_dir = str(standing.backend.settings.data_dir)
    assert main(["quota", "set", *arguments, "--data-dir", data_dir]) != 0
    assert message in capsys.readouterr().err
