"""Files by a grammar of what goes wrong, sent as batches: each comes in, or is refused with a reason.

They are inspected, tried, imported and read back in this process. The limits of memory and time are tested by
tests/attacks.
"""

from collections.abc import Awaitable
from pathlib import Path
from random import Random

import pytest

from offtake.engines.local import LocalEngine
from tests.fuzz.files import KINDS
from tests.fuzz.shares import ENOUGH, FILES, Share, again
from tests.fuzz.world import World, play, world
from tests.postgres import migrated_database


@pytest.mark.search
@pytest.mark.parametrize("share", FILES, ids=str)
def test_hostile_files_come_in_or_are_refused_and_nothing_breaks(
    share: Share, request: pytest.FixtureRequest, tmp_path: Path, engine: LocalEngine
) -> None:
    url = migrated_database(request.getfixturevalue("postgres")) if share.database == "postgres" else None
    with world(tmp_path, engine, url) as opened, again(share):
        play(opened, share.random(), _drawn, share.count)
        ends = {end for _, end in opened.tally}
        assert {"success", "failed"} <= ends or share.count < ENOUGH // 5


def _drawn(opened: World, random: Random) -> tuple[str, Awaitable[None]]:
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    return kind.__name__, kind(opened, random)
