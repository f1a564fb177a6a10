"""The pages in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.attacks.server import Server, serving
from tests.web import world
from tests.web.chromium import browsing, looking
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


def pages(made: World) -> list[str]:
    """Every page, in the states that the world has."""
    flow, live = made.flow_ids[0], made.flow_ids[3]
    s3 = "4fce964d-3f37-408f-9778-e597338a21ee"
    chosen = (
        f"destination={s3}&account={made.account_ids[0]}&dataset={made.dataset_ids[0]}&dataset={made.dataset_ids[6]}"
    )
    place = "&t-bucketName=acme&t-path=out&t-datasetFileType=PARQUET&t-compression=GZIP&name=New"
    return [
        "",
        "/monitoring",
        "/monitoring?days=30",
        "/flows",
        "/flows?q=nothing+has+this",
        "/flows?state=failed&sort=name",
        *(f"/flows/{one}" for one in (flow, live, *made.flow_ids[8:])),
        f"/flows/{flow}/runs",
        f"/flows/{flow}/settings",
        f"/flows/{flow}/backfill",
        *(f"/runs/{one}" for one in (made.run_id, made.live_run_id, made.failed_run_id)),
        "/export",
        f"/export?destination={s3}",
        *(f"/export?step={step}&{chosen}{place if step > 3 else ''}" for step in (2, 3, 4, 5)),
        "/style",
    ]


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (360, False), (360, True)])
def test_every_page_is_clean_accessible_and_fits(
    browser: Browser, filled: tuple[Server, World], width: int, dark: bool
) -> None:
    server, made = filled
    with looking(browser, server.origin, width=width, dark=dark) as window:
        window.open("/ui/sign-in")
        window.check()
        window.sign_in(made.admin)
        for path in pages(made):
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
