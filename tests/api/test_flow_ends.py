"""Ends over HTTP: whether one was filled in, whether a flow is past it, and when a flow runs next."""

from typing import Any

import pytest

from tests.deployment import Deployment, rows

DAY = 86_400
END = "/scheduleParams/endTime"


@pytest.fixture
def flow(deployed: Deployment) -> str:
    """A flow of every three hours from now on; its end is filled in."""
    return f"/flows/{deployed.flow(deployed.import_rows('events', rows(0, 3)))}"


def shown(deployed: Deployment, path: str) -> Any:
    deployed.sign_in()
    return deployed.get(path)["items"][0]


def replace(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": path, "value": value}]


def test_an_end_that_was_filled_in_says_so_wherever_a_flow_is_read(deployed: Deployment, flow: str) -> None:
    now = deployed.clock.now_ms()
    expected: dict[str, Any] = {"endTimeDefaulted": True, "ended": False, "nextRunAt": now, "consecutiveFailures": 0}
    expected |= {"freshWithinSeconds": None, "deliveredUpToUTC": None, "lateSinceUTC": None}
    assert shown(deployed, flow)["extensions"] == expected
    assert shown(deployed, "/flows")["extensions"] == expected
    assert shown(deployed, "/flows?property=extensions") == {"extensions": expected}
    found = deployed.post("/flows/search", {"queryString": "state==enabled", "projectionFields": "extensions"}, 200)[
        "items"
    ]
    assert [one["extensions"] for one in found] == [expected]
    deployed.run_due()
    assert shown(deployed, flow)["extensions"]["nextRunAt"] == now + 3 * 3_600_000


def test_an_end_that_was_sent_is_no_default(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    made = deployed.flow(dataset, schedule={"endTime": deployed.clock.now_seconds() + DAY})
    assert shown(deployed, f"/flows/{made}")["extensions"]["endTimeDefaulted"] is False


@pytest.mark.parametrize("moved", [0, DAY, -DAY])
@pytest.mark.parametrize("whole", [True, False])
def test_an_end_that_is_sent_later_is_no_default_any_more_be_it_the_same(
    deployed: Deployment, flow: str, moved: int, whole: bool
) -> None:
    end = shown(deployed, flow)["scheduleParams"]["endTime"] + moved
    body = replace("/scheduleParams", {"endTime": end}) if whole else replace(END, end)
    deployed.patch(flow, body)
    after = shown(deployed, flow)
    assert (after["scheduleParams"]["endTime"], after["extensions"]["endTimeDefaulted"]) == (end, False)
    deployed.patch(flow, replace("/scheduleParams", {"interval": 6}))
    after = shown(deployed, flow)
    assert (after["scheduleParams"]["endTime"], after["extensions"]["endTimeDefaulted"]) == (end, False)


@pytest.mark.parametrize("body", [{"interval": 6}, {"interval": 6, "endTime": None}])
def test_a_patch_of_something_else_leaves_the_default_a_default(
    deployed: Deployment, flow: str, body: dict[str, Any]
) -> None:
    before = shown(deployed, flow)
    deployed.patch(flow, replace("/scheduleParams", body))
    deployed.patch(flow, replace("/name", "renamed"))
    after = shown(deployed, flow)
    assert after["scheduleParams"] == before["scheduleParams"] | {"interval": 6}
    assert after["extensions"]["endTimeDefaulted"] is True


def test_a_flow_past_its_end_is_ended_until_it_is_prolonged(deployed: Deployment, flow: str) -> None:
    end = shown(deployed, flow)["scheduleParams"]["endTime"]
    deployed.clock.advance(seconds=end - deployed.clock.now_seconds() - 1)
    assert shown(deployed, flow)["extensions"]["ended"] is False
    deployed.clock.advance(seconds=1)
    ended = shown(deployed, flow)
    assert ended["state"] == "enabled"
    assert ended["extensions"] | {"lateSinceUTC": None} == {
        "endTimeDefaulted": True,
        "ended": True,
        "nextRunAt": None,
        "consecutiveFailures": 0,
        "freshWithinSeconds": None,
        "deliveredUpToUTC": None,
        "lateSinceUTC": None,
    }
    # The slot before the end is still due.
    assert ended["extensions"]["lateSinceUTC"] is not None
    deployed.run_due()
    assert shown(deployed, flow)["extensions"]["nextRunAt"] is None
    deployed.patch(flow, [{"op": "remove", "path": END}])
    prolonged = shown(deployed, flow)["extensions"]
    assert (prolonged["ended"], prolonged["endTimeDefaulted"]) == (False, False)
    assert prolonged["nextRunAt"] > deployed.clock.now_ms()


def test_a_disabled_flow_has_no_next_run_until_it_is_enabled(deployed: Deployment, flow: str) -> None:
    deployed.post(f"{flow}/action?op=disable", {}, 200)
    assert shown(deployed, flow)["extensions"] == {
        "endTimeDefaulted": True,
        "ended": False,
        "nextRunAt": None,
        "consecutiveFailures": 0,
        "freshWithinSeconds": None,
        "deliveredUpToUTC": None,
        "lateSinceUTC": None,
    }
    deployed.post(f"{flow}/action?op=enable", {}, 200)
    assert shown(deployed, flow)["extensions"]["nextRunAt"] == deployed.clock.now_ms() + 3 * 3_600_000


def test_the_extension_cannot_be_patched(deployed: Deployment, flow: str) -> None:
    refused = deployed.patch(flow, replace("/extensions", {"ended": False}), 400)
    assert refused["type"].endswith("/FLOW-1455-400")
