"""A real browser that looks at the pages, and complains about what a person would."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from offtake.access.clients import NewClient

_PATH: Final = "/usr/bin/chromium"
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_AXE: Final = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
_AXE_RUN: Final = """
;axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(
  found.violations.map(one => [one.id, one.impact, one.nodes.slice(0, 3).map(node => node.html.slice(0, 160))])))
"""
_OVERFLOW: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Looking:
    """A page of the browser. `complaints`: errors of its console, failed requests, and requests to other origins."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda one: self._complain(one.type in ("error", "warning"), f"console: {one.text}"))
        self.page.on("pageerror", lambda one: self._complain(True, f"script: {one}"))
        self.page.on("requestfailed", lambda one: self._complain(not _is_aborted(one), f"failed: {one.url}"))
        self.page.on("request", lambda one: self._complain(not self._is_own(one.url), f"left the origin: {one.url}"))

    def _complain(self, is_wrong: bool, text: str) -> None:
        if is_wrong:
            self.complaints.append(text)

    def _is_own(self, url: str) -> bool:
        return url.startswith(self.origin) or urlsplit(url).scheme in ("data", "blob", "about")

    def open(self, path: str, status: int = 200) -> None:
        """Open a page of the server."""
        answer = self.page.goto(self.origin + path)
        assert answer is not None
        assert answer.status == status, path

    def sign_in(self, client: NewClient) -> None:
        """Sign in by the form."""
        self.open("/ui/sign-in")
        self.page.fill("#f-client_id", client.client_id)
        self.page.fill("#f-client_secret", client.client_secret)
        self.page.click("button:has-text('Sign in')")
        self.page.wait_for_url("**/ui/prod")

    def check(self) -> None:
        """Raise when the page has complaints, is wider than the window, or is not accessible."""
        assert self.complaints == []
        assert self.page.evaluate(_OVERFLOW) <= 0, f"{self.page.url} is wider than the window"
        found = json.loads(self.page.evaluate(_AXE.read_text() + _AXE_RUN))
        assert found == [], f"{self.page.url}: {found}"


def _is_aborted(request: Any) -> bool:
    """Whether the page itself ended the request: a stream that it closed, or a preview that a newer one replaced."""
    return "ERR_ABORTED" in (request.failure or "")


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PATH, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(
    browser: Browser, origin: str, *, width: int = 1440, dark: bool = False, scripts: bool = True
) -> Iterator[Looking]:
    """A window without history."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        java_script_enabled=scripts,
        timezone_id="Asia/Kolkata",
        accept_downloads=True,
    )
    try:
        yield Looking(context.new_page(), origin)
    finally:
        context.close()
