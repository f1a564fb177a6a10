"""Pictures of every page in every state: `make screenshots`. Those of the README are written to docs/images.

python -m tests.web.screenshots FOLDER
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from tests.attacks.server import Server, serving
from tests.web import world
from tests.web.chromium import browsing, looking
from tests.web.pages import every_page
from tests.web.world import World

SHOWN: Final = Path(__file__).parents[2] / "docs" / "images"
README: Final = "readme"
_IN_README: Final = ("deliveries", "dataflow", "run", "export")
_PLAIN: Final = (1440, False)
_VARIANTS: Final = {README: (_PLAIN,), "many": (_PLAIN,)}
_ALL: Final = (_PLAIN, (1440, True), (360, False))


def main(folder: Path) -> None:
    """Write all pictures; the names say page, width and colours."""
    folder.mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        for state, flows in ((README, 8), ("empty", 0), ("few", 11), ("many", 10_000)):
            with tempfile.TemporaryDirectory() as data:
                made = world.make(Path(data) / "data", flows)
                with serving(Path(data), "--no-worker") as server:
                    for name in _pictures(browser, server, made, folder, state):
                        sys.stdout.write(f"{name}\n")


def _pictures(browser: Browser, server: Server, made: World, folder: Path, state: str) -> Iterator[str]:
    for width, dark in _VARIANTS.get(state, _ALL):
        with looking(browser, server.origin, width=width, dark=dark) as window:
            window.sign_in(made.admin)
            for name, path in every_page(made, is_filled=state != "empty").items():
                if state == README and name not in _IN_README:
                    continue
                window.open(f"/ui/prod{path}")
                file = SHOWN / f"{name}.png" if state == README else folder / _file(state, name, width, dark=dark)
                window.page.screenshot(path=file, full_page=state != README)
                yield file.name


def _file(state: str, name: str, width: int, *, dark: bool) -> str:
    return f"{state}-{name}-{width}{'-dark' if dark else ''}.png"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
