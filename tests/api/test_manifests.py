"""`GET /runs/{id}/manifest` and `offtake run manifest`: what a run delivered, with or without a file of it."""

from uuid import uuid4

import pytest

from offtake.cli.main import main
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from tests.deployment import FLOW_SERVICE, WITH_MANIFEST, Deployment, rows
from tests.organisations import second_organisation


def run_of(deployed: Deployment, *, with_file: bool = False, due: bool = True) -> str:
    """A flow's one run, over when it is `due`, else waiting; its id."""
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST if with_file else {})
    if due:
        deployed.run_due()
    else:
        body = {"activationInfo": {"destinations": [{"flowId": flow}]}}
        deployed.post("/data/core/activation/disflowprovider/adhocrun", body, 200)
    (run,) = deployed.runs(flow)
    return str(run["id"])


@pytest.mark.parametrize("with_file", [True, False])
def test_the_api_and_the_command_give_what_the_file_holds(
    deployed: Deployment, capfdbinary: pytest.CaptureFixture[bytes], with_file: bool
) -> None:
    run = run_of(deployed, with_file=with_file)
    answer = deployed.http.get(f"{FLOW_SERVICE}/runs/{run}/manifest")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert [answer.json()] == deployed.manifests()
    assert [file.read_bytes() for file in deployed.manifest_files()] == [answer.content] * with_file
    capfdbinary.readouterr()
    assert main(["run", "manifest", run, "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
    assert capfdbinary.readouterr().out == answer.content


def test_a_run_that_is_not_over_has_none(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(deployed, due=False)
    refusal = deployed.get(f"/runs/{run}/manifest", 400)
    assert refusal["type"].endswith("/FLOW-1422-400")
    assert (refusal["report"]["id"], refusal["report"]["type"]) == (run, "runs")
    assert refusal["detail"] == f"Run {run} is waiting; its manifest can be read when the run has ended."
    assert main(["run", "manifest", run, "--data-dir", str(deployed.backend.settings.data_dir)]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"offtake: {refusal['detail']}\n")


def test_a_run_that_delivered_nothing_because_it_failed_has_none_and_says_why(deployed: Deployment) -> None:
    run = run_of(deployed, due=False)
    deployed.post(f"/runs/{run}/action?op=CANCEL", {}, 200)
    refusal = deployed.get(f"/runs/{run}/manifest", 400)
    assert refusal["type"].endswith("/FLOW-1422-400")
    assert f"Run {run} failed and delivered nothing" in refusal["detail"]
    assert "EXPORT-1499-400 The run was cancelled." in refusal["detail"]


def test_a_run_that_is_not_there_or_not_the_callers_is_not_found(deployed: Deployment) -> None:
    run, unknown = run_of(deployed), str(uuid4())
    assert deployed.get(f"/runs/{unknown}/manifest", 404)["type"].endswith("/FLOW-1439-404")
    with deployed.acting(second_organisation(deployed)):
        hidden, nothing = (deployed.get(f"/runs/{one}/manifest", 404)["detail"] for one in (run, unknown))
        assert hidden.replace(run, unknown) == nothing


def test_who_may_see_a_run_may_see_its_manifest(deployed: Deployment) -> None:
    run = run_of(deployed)
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS)):
        assert deployed.get(f"/runs/{run}/manifest")["flowRunId"] == run
    with deployed.acting(deployed.new_client(VIEW_DATASETS, EXPORT_DATASETS)):
        refusal = deployed.get(f"/runs/{run}/manifest", 403)
        assert VIEW_DESTINATIONS in refusal["report"]["detailed-message"]


def test_the_manifest_of_a_flow_with_a_label_is_hidden_like_its_run(deployed: Deployment) -> None:
    run = run_of(deployed)
    (flow,) = deployed.get("/flows")["items"]
    deployed.patch(f"/flows/{flow['id']}", [{"op": "add", "path": "/labels", "value": ["core/C12"]}])
    with deployed.acting(deployed.new_client("*")):
        for path in (f"/runs/{run}", f"/runs/{run}/manifest"):
            assert deployed.get(path, 404)["type"].endswith("/FLOW-1439-404")
