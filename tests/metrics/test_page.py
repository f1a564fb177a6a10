"""`/metrics`: who gets it, what it shows when the database hangs, and that no name can break it."""

import dataclasses
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from offtake.api.app import create_app, create_monitoring_app
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.flows import deliveries
from offtake.flows.late_flows import late_flows
from offtake.metrics import event_counts
from offtake.metrics.exposition import render
from offtake.metrics.labels import MOST_SANDBOXES, SandboxLabels, unique_names
from offtake.metrics.page import MetricsPage
from offtake.metrics.store_state import known_code, read_state
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.settings import Settings
from offtake.store import runs, waits
from offtake.store.database import Database
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import DestinationHealth, Run
from offtake.store.waits import Wait
from offtake.telemetry import counts, definitions
from offtake.telemetry.counts import COUNTS, Counts, Labels
from offtake.telemetry.definitions import METRICS
from tests.app_client import AppClient
from tests.conftest import NOON
from tests.deploy.test_monitoring import names
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.metrics.scraping import parsed, scraped, total, value
from tests.middlebox import middlebox
from tests.organisations import second_organisation
from tests.postgres import migrated_database
from tests.scheduling.flaky_destination import FaultyEngine
from tests.store.test_runs import waiting_run
from tests.store.test_waits import AWAY

ROOT = Path(__file__).parents[2]
TOKEN = "a token of the monitoring"


def test_the_port_of_the_api_shows_metrics_only_with_the_token(standing: Deployment) -> None:
    assert standing.http.get("/metrics").status_code == 404
    settings = standing.backend.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    backend = dataclasses.replace(standing.backend, settings=settings)
    page = MetricsPage(backend)
    for app in (create_app(backend, page), create_monitoring_app(backend, page)):
        with AppClient(app) as client:
            for sent in (b"", TOKEN.encode(), b"Bearer wrong", "Bearer \xe9".encode()):
                refused = client.get("/metrics", headers={b"Authorization": sent})
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
                assert "offtake_" not in refused.text
            shown = client.get("/metrics", headers={"Authorization": f"bearer {TOKEN}"})
        assert shown.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert value(parsed(shown.text), "offtake_store_up") == 1
    page.close()
    with pytest.raises(ValidationError):
        Settings(metrics_token=SecretStr("short"))


def test_a_port_of_its_own_needs_no_token_and_has_no_api(standing: Deployment) -> None:
    page = MetricsPage(standing.backend, whole=False)
    with AppClient(create_monitoring_app(standing.backend, page)) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/data/foundation/flowservice/flows").status_code == 404
        shown = parsed(client.get("/metrics").text)
    assert value(shown, "offtake_store_up") == 1
    # Workers, of which there may be many, do not ask for the state of the deployment.
    assert not any(name == "offtake_flows_late" for name, _ in shown)
    page.close()


def test_routes_are_counted_by_their_template(standing: Deployment) -> None:
    page = MetricsPage(standing.backend)
    before = scraped(page)
    for path in ("/data/foundation/flowservice/flows/x", "/nowhere/x", "/data/foundation/flowservice/nowhere"):
        assert standing.http.get(path).status_code == 404
    standing.http.request("BREW", "/healthz")
    after = scraped(page)
    page.close()

    def more(**wanted: str) -> float:
        return total(after, "offtake_http_requests_total", **wanted) - total(
            before, "offtake_http_requests_total", **wanted
        )

    assert more(method="GET", route="/data/foundation/flowservice/flows/{flow_id}", status="4xx") == 1
    assert more(method="GET", route="other", status="4xx") == 2
    assert more(method="other") == 1
    assert value(after, "offtake_http_requests_in_flight") == 0


def test_a_database_that_hangs_delays_nothing_and_the_last_values_stay(tmp_path: Path, postgres: str) -> None:
    url = make_url(migrated_database(postgres))
    assert url.host is not None
    assert url.port is not None
    with middlebox(url.host, url.port) as box:
        settings = Settings(data_dir=tmp_path, database_url=url.set(port=box.port).render_as_string())
        backend = open_backend(settings, Clock())
        waiting_run(backend.database, created_at=Clock().now_ms() - 150_000)
        page = MetricsPage(backend, seconds=0)
        shown = scraped(page)
        assert (value(shown, "offtake_store_up"), value(shown, "offtake_workers_missing")) == (1, 1)
        box.stall_after = box.passed
        for _ in range(2):
            began = time.monotonic()
            shown = scraped(page)
            assert time.monotonic() - began < 4
            assert (value(shown, "offtake_store_up"), value(shown, "offtake_workers_missing")) == (0, 1)
        assert value(shown, "offtake_not_ready", reason="store_unavailable") == 1
        box.stall_after = None
        page.close()
        backend.close()


def test_the_state_is_read_from_both_databases(database: Database) -> None:
    for number in range(3):
        waiting_run(database, created_at=NOON - 120_000 + number)
    for code in ("EXPORT-2003-504", "EXPORT-9999-999"):
        run_id = waiting_run(database, created_at=NOON)
        with database.writing() as session:
            run = session.get_one(Run, run_id)
            run.waiting_since, run.not_before = NOON, NOON + 9_000
            run.wait_reason = {"code": code, "message": "m", "type": "Error"}
    claimed = waiting_run(database, created_at=NOON)
    with database.writing() as session:
        running = session.get_one(Run, claimed)
        running.status = "processing"
        running.lease_owner, running.heartbeat_counter = "worker", 1
        session.add(DestinationHealth(address="h:22", unavailable_since=NOON - 5_000, failures=1))
    with database.reading() as session:
        found = {(one.metric.name, one.labels): one.value for one in read_state(session, NOON).samples}
    assert found["offtake_runs_waiting", ("none", "sandbox")] == 3
    assert found["offtake_runs_waiting", ("EXPORT-2003-504", "sandbox")] == 1
    assert found["offtake_runs_waiting", ("other", "sandbox")] == 1
    assert found["offtake_runs_running", ("sandbox",)] == 1
    assert found["offtake_queue_oldest_age_seconds", ("sandbox",)] == 120
    assert found["offtake_leases_held", ("run",)] == found["offtake_workers_busy", ()] == 1
    assert found["offtake_workers_missing", ()] == 0
    assert found["offtake_destinations_unavailable", ()] == 1
    assert found["offtake_destination_unavailable_max_seconds", ()] == 5


def test_late_is_what_the_pages_call_late(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("d", [{"id": 1}]))
    page = MetricsPage(deployed.backend)
    for minutes in (0, 5, 17, 19, 60):
        deployed.clock.ms = NOON + 3 * 3_600_000 + minutes * 60_000
        with deployed.backend.database.reading() as session:
            pages = deliveries.troubles(session, deployed.caller, deployed.clock.now_ms(), 9)
            ours = list(late_flows(session, deployed.clock.now_ms()))
        assert [one.flow_id for one in pages if one.kind == "late"] == [one.flow_id for one in ours]
    assert [one.flow_id for one in ours] == [flow]
    shown = scraped(page)
    page.close()
    assert value(shown, "offtake_flows_late", sandbox="prod") == 1
    assert value(shown, "offtake_flow_lateness_max_seconds", sandbox="prod") >= 3600


def test_sandboxes_have_a_limited_number_of_labels() -> None:
    named = SandboxLabels()
    counter, greatest = definitions.RUNS_RUNNING, definitions.LATENESS
    values: dict[Labels, float] = {(f"id{number}",): float(number) for number in range(MOST_SANDBOXES + 5)}
    assert named.apply(counter, values) == {}
    named.learn({f"id{number}": f"s{number}" for number in range(MOST_SANDBOXES + 3)})
    shown = named.apply(counter, values)
    assert len(shown) == MOST_SANDBOXES + 1
    assert shown["s7",] == 7
    assert shown["other",] == sum(range(MOST_SANDBOXES, MOST_SANDBOXES + 5))
    assert named.apply(greatest, values)["other",] == MOST_SANDBOXES + 4
    # A sandbox that is deleted and created again continues its values; labels never change.
    named.learn({"again": "s7", "id7": "renamed"})
    assert named.apply(counter, {("again",): 1, ("id7",): 2}) == {("s7",): 3}
    assert named.apply(definitions.WAITS, {("none",): 1}) == {("none",): 1}


def test_sandboxes_of_one_name_have_different_labels(deployed: Deployment) -> None:
    second_organisation(deployed)
    page = MetricsPage(deployed.backend)
    shown = scraped(page)
    page.close()
    sandboxes = {dict(its)["sandbox"] for name, its in shown if name == "offtake_flows_late"}
    assert sandboxes == {"prod", "prod@00112233445566778899AABB"}
    assert unique_names([]) == {}


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ['a"b', "a\nb", "a\\", "a\\nb", "\r\n", '"} 1\nofftake_x 2', "a\u2028b", "\0", "#"]
)


@given(st.lists(NAMES, unique=True, min_size=1, max_size=4))
def test_no_name_breaks_the_format(names: list[str]) -> None:
    named = SandboxLabels()
    named.learn({str(number): name for number, name in enumerate(names)})
    values: dict[Labels, float] = {(str(number),): number + 0.5 for number in range(len(names))}
    text = render({definitions.FLOWS_LATE: named.apply(definitions.FLOWS_LATE, values)}, {}).decode()
    shown = parsed(text)
    for number, name in enumerate(names):
        assert value(shown, "offtake_flows_late", sandbox=name) == number + 0.5
    assert len([1 for metric, _ in shown if metric.startswith("offtake_")]) == len(names)


def test_series_are_limited_and_values_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_SERIES", 3)
    mine = Counts()
    for number in range(10):
        mine.add(definitions.RUNS_STARTED, "sftp", "json", str(number))
    mine.add(definitions.RUNS_STARTED, "sftp", "json", "0")
    mine.set(definitions.POOL_SIZE, to=2)
    mine.set(definitions.POOL_SIZE, to=3)
    mine.observe(definitions.HTTP_SECONDS, "GET", "/", value=0.01)
    mine.observe(definitions.HTTP_SECONDS, "GET", "/", value=1e9)
    found = mine.values(definitions.RUNS_STARTED)
    assert found["sftp", "json", "0"] == 2
    assert found["other", "other", "other"] == 7
    assert mine.values(definitions.POOL_SIZE) == {(): 3}
    (distribution,) = mine.distributions(definitions.HTTP_SECONDS).values()
    assert (distribution.counts[0], distribution.counts[-1], distribution.total) == (1, 1, 1e9 + 0.01)
    shown = parsed(render({}, {definitions.HTTP_SECONDS: mine.distributions(definitions.HTTP_SECONDS)}).decode())
    assert value(shown, "offtake_http_request_duration_seconds_count", method="GET", route="/") == 2
    assert value(shown, "offtake_http_request_duration_seconds_bucket", method="GET", route="/", le="0.01") == 1


def test_unknown_codes_are_other() -> None:
    assert [known_code(one) for one in ("EXPORT-2003-504", None, "", "x" * 99)] == [
        "EXPORT-2003-504",
        "none",
        "none",
        "other",
    ]


def test_every_metric_has_a_value_after_a_day_of_a_deployment(tmp_path: Path, clock: FakeClock) -> None:
    """As on the page docs/metrics.md, which is made from the same definitions."""
    engine = FaultyEngine()
    with deployment(tmp_path / "data", clock, engine) as deployed:
        deployed.backend.database.observers.append(event_counts.count)
        page = MetricsPage(deployed.backend, seconds=0)
        before = scraped(page)
        flow = deployed.flow(deployed.import_rows("d", [{"id": 1}]), params={"datasetFileType": "JSON"})
        engine.faults += ["", "away", "refused"]
        deployed.run_out()
        for number in range(2, 4):
            clock.advance(hours=3)
            deployed.import_rows("d", [{"id": number}])
            deployed.run_out()
        clock.advance(hours=3)
        enqueue_due_runs(deployed.backend.database, clock)
        database = deployed.backend.database
        lease = runs.claim(database, "worker", LeaseMonitor(clock.elapsed_ms, 30_000), clock.now_ms())
        assert lease is not None
        waits.defer(database, lease, Wait(AWAY, 900, None, {}), lambda _: 900, clock.now_ms())
        COUNTS.set(definitions.SCHEDULER_TICK, to=clock.now_ms() / 1000)
        after = scraped(page)
        assert len(deployed.runs(flow)) == 4
        page.close()
    exposed = {name for name, _ in after}
    assert [one.name for one in METRICS if not exposed & names(one)] == []
    labels_of = {(name, label) for name, its in after for label, _ in its}
    for metric in METRICS:
        assert {label for name, label in labels_of if name in names(metric)} - {"le"} == set(metric.labels), metric.name
    listed = set(re.findall(r"^\| `(\w+)` ", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert listed == {one.name for one in METRICS}

    def more(name: str, **wanted: str) -> float:
        return total(after, f"offtake_{name}", **wanted) - total(before, f"offtake_{name}", **wanted)

    json_in_zone = {"type": "data_landing_zone", "format": "json", "sandbox": "prod"}
    assert more("runs_started_total", **json_in_zone) >= 3
    assert more("runs_ended_total", state="delivered", code="none", **json_in_zone) == 2
    assert more("runs_ended_total", state="failed", code="EXPORT-2001-403", **json_in_zone) == 1
    assert more("delivered_rows_total", **json_in_zone) == 3
    assert more("delivered_files_total", **json_in_zone) == 2
    assert more("delivered_bytes_total", **json_in_zone) > 10
    assert more("parts_written_total", sandbox="prod") == 2
    assert more("retries_total", code="EXPORT-2003-504") >= 1
    assert more("batches_ended_total", state="imported", sandbox="prod") == 3
    assert more("imported_rows_total", sandbox="prod") == 3
    assert more("run_waits_total", code="EXPORT-2003-504") == 1
    assert value(after, "offtake_runs_waiting", code="EXPORT-2003-504", sandbox="prod") == 1
