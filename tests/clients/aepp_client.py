"""aepp as its users set it up, with a gateway host of their own; nothing of it is patched."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aepp  # type: ignore[import-untyped] # ships no types, like all of its modules below
from aepp import accesscontrol, catalog, dataaccess, flowservice, ingestion, sandboxes
from aepp.exportDatasetToDataLandingZone import (  # type: ignore[import-untyped]
    ExportDatasetToDataLandingZone,
)

from tests.commands import run

Json = dict[str, Any]
SCOPES = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"


@dataclass(frozen=True)
class Served:
    """A running server and its first client."""

    data_dir: Path
    origin: str
    org_id: str
    client_id: str
    client_secret: str
    sandbox: str

    def import_rows(self, name: str, rows: Path) -> str:
        """The file's rows as a new dataset; its id."""
        return str(self.offtake("dataset", "import", name, str(rows))["id"])

    def offtake(self, *words: str) -> Any:
        """What a command prints while the server runs."""
        done = run([*words, "--data-dir", self.data_dir, "--json"])
        done.check_returncode()
        return json.loads(done.stdout)

    @property
    def zone(self) -> Path:
        """The sandbox's landing zone."""
        return self.data_dir / "landing-zone" / self.sandbox


def configure(served: Served, **more: Any) -> Any:
    """aepp's configuration; "support" is its name for a gateway that the caller names."""
    connected = aepp.configure(
        org_id=served.org_id,
        client_id=served.client_id,
        secret=served.client_secret,
        scopes=SCOPES,
        sandbox=served.sandbox,
        environment="support",
        endpoint=served.origin,
        **more,
    )
    config = aepp.config.config_object if connected is None else connected.getConfigObject()
    config["imsEndpoint"] = served.origin
    config["oauthTokenEndpointV2"] = f"{served.origin}/ims/token/v3"
    return connected


class Aepp:
    """The client's classes, each of which gets a token of its own when it is made."""

    def __init__(self, served: Served) -> None:
        configure(served)
        self.flows = flowservice.FlowService()

    def catalog(self) -> Any:
        return catalog.Catalog()

    def ingestion(self) -> Any:
        return ingestion.DataIngestion()

    def data_access(self) -> Any:
        return dataaccess.DataAccess()

    def sandboxes(self) -> Any:
        return sandboxes.Sandboxes()

    def access_control(self) -> Any:
        return accesscontrol.AccessControl()

    def export_helper(self) -> Any:
        return ExportDatasetToDataLandingZone()

    def flow_manager(self, flow_id: str) -> Any:
        return flowservice.FlowManager(flow_id)

    def finished(self, run_id: str) -> Json:
        """The run, once it has the metrics by which the client's own helper sees that it is over."""
        for _ in range(300):
            (run,) = self.flows.getRun(run_id)
            if _is_over(run["metrics"]):
                return dict(run)
            time.sleep(0.1)
        raise AssertionError(f"the run is not over: {run}")

    def only_run(self, flow_id: str) -> Json:
        """The flow's only run, once it is over."""
        for _ in range(300):
            runs = self.flows.getRuns(prop=f"flowId=={flow_id}")
            if runs:
                (run,) = runs
                return self.finished(run["id"])
            time.sleep(0.1)
        raise AssertionError("no run was made")


def _is_over(metrics: Json) -> bool:
    needed = [
        ("durationSummary", "startedAtUTC"),
        ("durationSummary", "completedAtUTC"),
        ("sizeSummary", "outputBytes"),
        ("recordSummary", "outputRecordCount"),
        ("fileSummary", "outputFileCount"),
    ]
    return all(key in metrics.get(summary, {}) for summary, key in needed)
