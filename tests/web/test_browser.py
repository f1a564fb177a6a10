"""The pages in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.attacks.server import Server, serving
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


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (360, False), (360, True)])
def test_every_page_is_clean_accessible_and_fits(
    browser: Browser, filled: tuple[Server, World], width: int, dark: bool
) -> None:
    server, made = filled
    with looking(browser, server.origin, width=width, dark=dark) as window:
        window.open("/ui/sign-in")
        window.check()
        window.sign_in(made.admin)
        for path in every_page(made).values():
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
