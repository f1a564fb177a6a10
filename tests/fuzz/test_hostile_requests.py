"""Requests by a grammar of what goes wrong, on both databases: none is answered with a 5xx, every refusal says why.

`OFFTAKE_FUZZ_REQUESTS` says how many requests all of `test_hostile_*.py` make (`make fuzz` makes 100,000). A failure
names its request and the seed; `OFFTAKE_FUZZ_SEED` makes the same requests again.
"""

from collections.abc import Awaitable
from pathlib import Path
from random import Random

import pytest

from offtake.engines.local import LocalEngine
from tests.fuzz.kinds import KINDS, path
from tests.fuzz.shares import CALLS, ENOUGH, Share, again
from tests.fuzz.world import World, play, world
from tests.postgres import migrated_database


@pytest.mark.search
@pytest.mark.parametrize("share", CALLS, ids=str)
def test_hostile_requests_are_refused_and_nothing_breaks(
    share: Share, request: pytest.FixtureRequest, tmp_path: Path, engine: LocalEngine
) -> None:
    url = migrated_database(request.getfixturevalue("postgres")) if share.database == "postgres" else None
    with world(tmp_path, engine, url) as opened, again(share):
        play(opened, share.random(), _drawn, share.count)
        for kind in KINDS if share.count >= ENOUGH else ():
            # Refusals are not all of one kind: what everything hangs on is still there.
            assert opened.tally[kind.__name__, "4xx"], kind
            assert opened.tally[kind.__name__, "2xx"] or kind is path, kind


def _drawn(opened: World, random: Random) -> tuple[str, Awaitable[None]]:
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    return kind.__name__, kind(opened, random)
