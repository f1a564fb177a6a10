"""Checks the language of code, tests and pages: `python docs/language.py` (part of `make lint`) lists banned turns.

Code, docstrings, comments, messages and pages are plain technical English: the actor first, the field's standard terms.
Each turn below stands for wording that readers had to learn before they could read the code. Names are checked as well:
an underscore counts as a space.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
BANNED: Final = {
    r"whoever|whosoever": "name the actor: worker, caller, client, process",
    r"nobody|somebody": "no other process, another request, a user",
    r"anew": "again, new",
    r"beside": "next to, in addition to",
    r"lies beside|lies below|lies in": "is stored in, is next to",
    r"all the same": "nevertheless",
    r"in whatever state": "in any state",
    r"ask(?:s|ed)? again": "retry the request",
    r"mend(?:s|ed|ing)?": "fix",
    r"make room": "free disk space",
    r"told|is tell": "reports, raises, states",
    r"that is none|none of ours|none of Offtake's": "is not a …",
    r"is no (?:URL|key|text|number|path|name|file|folder|token|address|schema|column)": "is not a …",
    r"keeps? house": "run maintenance",
    r"leash|workshop|doorman": "cancellation token, run context, credential issuer",
    r"given up": "failed, abandoned",
    r"thither|whence|thereof|wherein|therein": "there, from which, of it",
}
"""Regular expressions of whole words, in any letter case, and what to write instead."""

EXCEPTIONS: Final[dict[tuple[str, str], str]] = {
    ("docs/language.py", ""): "names them",
    ("src/offtake/formats/ndjson.py", "whence"): "the parameter's name in Python's `io`",
    ("src/offtake/renamed_settings.py", "told"): "the former name of a setting",
    ("CHANGELOG.md", "told"): "the former name of a setting",
}
"""By file and turn (empty for all): why it may stay."""


def files() -> Iterator[Path]:
    """The code, tests and pages of the project."""
    for folder in ("src", "tests", "bench"):
        yield from sorted(path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts)
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.py"))
    yield from sorted(ROOT.glob("*.md"))


def findings() -> Iterator[str]:
    """Each banned turn, with its place and what to write instead."""
    for path in files():
        name = str(path.relative_to(ROOT))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for turn, better in BANNED.items():
                found = re.search(rf"(?<![\w-])(?:{turn})(?![\w-])", line.replace("_", " "), re.IGNORECASE)
                if found and (name, "") not in EXCEPTIONS and (name, found[0].lower()) not in EXCEPTIONS:
                    yield f"{name}:{number}: {found[0]!r}: {better}"


if __name__ == "__main__":
    found = list(findings())
    print("\n".join(found) or "The language check passed.")
    sys.exit(1 if found else 0)
