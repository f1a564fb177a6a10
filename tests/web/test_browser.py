"""The pages in a real browser."""

import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from offtake.access.clients import NewClient
from tests.attacks.server import Server, serving
from tests.deployment import ZONE
from tests.matrix import in_turn
from tests.servers import rclone_s3
from tests.web import world
from tests.web.chromium import browsing, looking
from tests.web.pages import every_page
from tests.web.world import World


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, World]]:
    folder = tmp_path_factory.mktemp("pages")
    made = world.make(folder / "data")
    with serving(folder, no_worker=True) as server:
        yield server, made


@pytest.mark.matrix(one_in=2)
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (360, False), (360, True)])
def test_every_page_is_clean_accessible_and_fits(
    browser: Browser, filled: tuple[Server, World], width: int, dark: bool
) -> None:
    server, made = filled
    with looking(browser, server.origin, width=width, dark=dark) as window:
        window.open("/ui/sign-in")
        window.check()
        window.sign_in(made.admin)
        for path in in_turn(list(every_page(made).values()), 3):
            window.open(f"/ui/prod{path}")
            window.check()


def test_errors_are_pages_too(browser: Browser, filled: tuple[Server, World]) -> None:
    server, made = filled
    with looking(browser, server.origin) as window:
        window.sign_in(made.admin)
        for path in ("/ui/prod/flows/unknown", "/ui/nowhere", "/ui/prod/nothing"):
            window.open(path, status=404)
            window.complaints.clear()  # the browser reports the page's own status as an error
            window.check()
            assert window.page.locator("h1").inner_text() == "Not found"


def test_a_file_is_uploaded_reviewed_and_committed(
    browser: Browser, filled: tuple[Server, World], tmp_path: Path
) -> None:
    server, made = filled
    wrong, good = tmp_path / "orders.xlsx", tmp_path / "orders of a day.csv"
    wrong.write_bytes(b"PK")
    good.write_text("id,note\n" + "".join(f'{number},"<b>{"x" * 300}</b>"\n' for number in range(50)))
    with looking(browser, server.origin, width=360) as window:
        window.sign_in(made.admin)
        window.open("/ui/prod/datasets/import")
        page = window.page
        page.set_default_timeout(30_000)  # files are parsed in a process that starts now
        page.set_input_files("#f-file", wrong)
        page.get_by_role("button", name="Upload and review").click()
        page.get_by_text("has an unknown format").wait_for()
        window.check()
        page.set_input_files("#f-file", good)
        page.get_by_role("button", name="Upload and review").click()
        page.get_by_text("50 rows can be imported.").wait_for()
        window.check()
        page.fill("#f-delimiter", ";")
        page.locator(".figure:has-text('Columns') b:text-is('1')").wait_for()
        page.wait_for_url("**delimiter=%3B*")
        window.check()
        page.fill("#f-delimiter", "")
        page.locator(".figure:has-text('Columns') b:text-is('2')").wait_for()
        # A field outside the form that it belongs to.
        page.get_by_label("Type of column id").select_option("id:string")
        page.wait_for_url("**columnType=id%3Astring*")
        window.check()
        page.fill("#f-name", "Renamed")
        page.get_by_role("button", name="Create the dataset").click()
        page.get_by_text("50 rows are in the dataset.").wait_for()
        assert page.locator("h1").inner_text() == "orders of a day.csv → Renamed"
        window.check()


def test_a_connection_is_tested_without_losing_what_was_typed(browser: Browser, filled: tuple[Server, World]) -> None:
    server, made = filled
    s3 = "4fce964d-3f37-408f-9778-e597338a21ee"
    with looking(browser, server.origin) as window:
        window.sign_in(made.admin)
        window.open(f"/ui/prod/destinations/{s3}/connect")
        page = window.page
        for name, value in (("s3AccessKey", "AKIA"), ("s3SecretKey", "secret"), ("endpointUrl", "http://127.0.0.1:1")):
            page.fill(f"#f-a0-{name}", value)
        page.fill("#f-a0-region", "NO REGION")
        page.focus("#f-name")
        page.wait_for_selector("#problem-a0-region:not([hidden])")
        page.fill("#f-a0-region", "eu-central-1")
        page.fill("#f-t-bucketName", "partner")
        page.fill("#f-t-path", "crm")
        page.click("button[value=test]")
        page.wait_for_selector("#tested .notice.bad")
        assert "EXPORT-2003-504" in page.inner_text("#tested")
        assert page.input_value("#f-a0-s3SecretKey") == "secret"
        window.check()


@pytest.mark.parametrize("scripts", [True, False])
def test_only_the_chosen_method_is_shown(browser: Browser, filled: tuple[Server, World], scripts: bool) -> None:
    server, made = filled
    with looking(browser, server.origin, scripts=scripts) as window:
        window.sign_in(made.admin)
        window.open("/ui/prod/destinations/36965a81-b1c6-401b-99f8-22508f1e6a26/connect")
        assert not window.page.is_visible("#f-a1-sshKey")
        window.page.check("input[name=method][value='1']")
        assert window.page.is_visible("#f-a1-sshKey")
        assert not window.page.is_visible("#f-a0-password")


def test_from_an_empty_server_to_verified_files_in_a_bucket(
    browser: Browser, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("id,city\n" + "".join(f"{number},Bern\n" for number in range(1000)))
    with rclone_s3(tmp_path_factory.mktemp("s3")) as s3, serving(tmp_path) as server:
        s3.make_bucket("partner-exports")
        with looking(browser, server.origin) as window:
            page = window.page
            page.set_default_timeout(30_000)
            admin = server.admin
            window.sign_in(NewClient(admin["org_id"], admin["client_id"], admin["client_secret"], "prod"))
            page.click("text=Datasets")
            page.get_by_role("link", name="Import a file").first.click()
            page.set_input_files("#f-file", file)
            page.get_by_role("button", name="Upload and review").click()
            page.get_by_role("button", name="Create the dataset").click()
            page.get_by_text("1,000 rows are in the dataset.").wait_for()
            page.get_by_role("link", name="Deliveries").first.click()
            page.get_by_role("link", name="Export datasets").first.click()
            page.get_by_text("Amazon S3", exact=True).first.click()
            page.get_by_role("link", name="Connect an Amazon S3 account").click()
            page.fill("#f-name", "Partner")
            page.fill("#f-a0-s3AccessKey", s3.access_key)
            page.fill("#f-a0-s3SecretKey", s3.secret_key)
            page.fill("#f-a0-endpointUrl", s3.endpoint)
            page.fill("#f-t-bucketName", "partner-exports")
            page.fill("#f-t-path", "crm")
            page.click("button[value=test]")
            page.wait_for_selector("#tested .notice")
            assert page.locator("#tested .notice.ok").count() == 1, page.inner_text("#tested")
            page.click("button[value=save]")
            page.get_by_label("orders").check()
            page.get_by_role("button", name="Continue").click()
            page.fill("#f-t-bucketName", "partner-exports")
            page.fill("#f-t-path", "crm")
            page.get_by_role("button", name="Continue").click()
            page.fill("#f-name", "Orders to partner")
            page.fill("#f-start_date", "2020-01-01")
            page.get_by_role("button", name="Continue").click()
            page.get_by_role("button", name="Start exporting").click()
            page.get_by_role("link", name="Delivered").first.click()
            page.get_by_role("button", name="Verify").click()
            page.get_by_text("The delivery is as recorded: 1 file, 1,000 rows").wait_for()
            window.check()
            shown = page.locator("td .id code").first.get_attribute("title")
        listed = s3.client().list_objects_v2(Bucket="partner-exports", Prefix="crm/")["Contents"]
        (key,) = [one["Key"] for one in listed]
        content = s3.client().get_object(Bucket="partner-exports", Key=key)["Body"].read()
        assert hashlib.sha256(content).hexdigest() == shown
        assert pq.read_table(io.BytesIO(content)).num_rows == 1000


def test_the_keyboard_alone_reaches_and_runs_a_dataflow(browser: Browser, filled: tuple[Server, World]) -> None:
    server, made = filled
    with looking(browser, server.origin) as window:
        window.sign_in(made.admin)
        window.open("/ui/prod/flows")
        page = window.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("/")
        page.keyboard.type("Customers")
        page.locator("#list td a.title").first.wait_for()
        page.wait_for_url("**q=Customers*")
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('td a.title')"):
                break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/flows/{made.flow_ids[1]}")
        page.keyboard.press("Escape")
        window.check()


def test_everything_works_without_scripts(browser: Browser, filled: tuple[Server, World]) -> None:
    server, made = filled
    with looking(browser, server.origin, scripts=False) as window:
        window.sign_in(made.admin)
        page = window.page
        window.open("/ui/prod/flows")
        page.fill("input[type=search]", "Returns")
        page.get_by_role("button", name="Apply").click()
        page.get_by_role("link", name="Returns").click()
        page.get_by_role("button", name="Disable").click()
        page.get_by_role("button", name="Enable").click()
        page.get_by_role("link", name="Settings").click()
        page.fill("#f-description", "Every return of goods")
        page.get_by_role("button", name="Save changes").click()
        page.get_by_text("Saved.").wait_for()
        page.get_by_text("Delete", exact=True).first.click()
        assert page.get_by_text("stops delivering").is_visible()
        assert window.complaints == []


def test_scripts_help_with_settings_without_losing_what_was_typed(
    browser: Browser, filled: tuple[Server, World]
) -> None:
    server, made = filled
    with looking(browser, server.origin) as window:
        window.sign_in(made.admin)
        window.open(f"/ui/prod/flows/{made.flow_ids[2]}/settings")
        page = window.page
        page.fill("#f-description", "Typed before")
        page.fill("#f-template", "")
        page.click("button.macro:has-text('Date'):not(:has-text('Dataset'))")
        page.locator("#paths li").first.wait_for()
        page.fill("#f-template", "%DATASET_NAM%")
        page.get_by_text("Do you mean %DATASET_NAME%?").wait_for()
        page.fill("#f-template", "%DATASET_NAME%")
        page.locator("#problem-template").wait_for(state="hidden")
        page.fill("input[name=q]", "nothing has this")
        page.get_by_text("No dataset has this in its name.").wait_for()
        page.fill("input[name=q]", "")
        page.keyboard.press("Enter")
        page.locator("#choices label.pick").nth(2).wait_for()
        assert page.input_value("#f-description") == "Typed before"
        page.check("input[name=every][value=once]")
        assert page.is_visible("#f-start_date")
        page.check("input[name=begin][value=now]")
        assert not page.is_visible("#f-start_date")
        page.check("input[name=every][value=daily]")
        page.check("input[name=ends][value=never]")
        assert not page.is_visible("#f-end_date")
        page.get_by_role("button", name="Save changes").click()
        page.get_by_text("Saved.").wait_for()
        assert page.input_value("#f-description") == "Typed before"
        assert page.input_value("#f-template") == "%DATASET_NAME%"
        window.check()


def test_scripts_unmark_a_corrected_field_and_the_fields_fit_a_phone(
    browser: Browser, filled: tuple[Server, World]
) -> None:
    server, made = filled
    with looking(browser, server.origin, width=360) as window:
        window.sign_in(made.admin)
        chosen = f"destination={ZONE}&account=new&dataset={made.dataset_ids[0]}"
        chosen += "&t-datasetFileType=JSON&t-compression=GZIP"
        window.open(f"/ui/prod/export?{chosen}&template=%25DATUM%25&step=4")
        page = window.page
        assert page.locator(".has-problem").count() == 1
        edge = "one => one.getBoundingClientRect().right <= one.closest('form').getBoundingClientRect().right + 0.5"
        inputs = page.locator("form .field :is(input:not([type=checkbox]), select)")
        assert all(one.evaluate(edge) for one in inputs.all())
        page.fill("#f-template", "%DATASET_NAME%")
        page.locator("#problems").wait_for(state="hidden")
        assert page.locator(".has-problem").count() == 0


def test_open_pages_survive_a_restart_of_the_server(browser: Browser, tmp_path: Path) -> None:
    made = world.make(tmp_path / "data")
    settings = f"/ui/prod/flows/{made.flow_ids[0]}/settings"
    with ExitStack() as running:
        server = running.enter_context(serving(tmp_path, no_worker=True))
        with looking(browser, server.origin) as window, looking(browser, server.origin) as other:
            window.sign_in(made.admin)
            window.open(settings)
            window.page.fill("#f-name", "Renamed over a restart")
            other.sign_in(made.admin)
            other.open(f"/ui/prod/runs/{made.live_run_id}")
            server.process.kill()
            server.process.wait(20)
            running.enter_context(serving(tmp_path, no_worker=True, port=server.port))
            # The page of the run finds its server again, and shows what has changed.
            world.change_run(made.data_dir, made.live_run_id, status="failed", completed_at=int(time.time() * 1000))
            other.page.wait_for_selector("main .state:has-text('Failed')")
            # What a person has typed is still there, and the session too.
            window.page.get_by_role("button", name="Save changes").click()
            window.page.wait_for_selector("h1:has-text('Renamed over a restart')")
            assert "Saved." in window.page.inner_text("main")
