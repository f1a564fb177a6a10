"""How the requests are shared out among tests, and how a failure is made again."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from tests.matrix import whole

REQUESTS: Final = int(os.environ.get("OFFTAKE_FUZZ_REQUESTS", "10000" if whole() else "2000"))
ENOUGH: Final = 1000
"""So many requests have to do with every kind of them."""
SEED: Final = os.environ.get("OFFTAKE_FUZZ_SEED") or secrets.token_hex(4)


Database = Literal["sqlite", "postgres"]


@dataclass(frozen=True)
class Share:
    """The requests of one test. Each share has a world of its own, so that it can be made again on its own."""

    database: Database
    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.database}-{self.number}"

    def random(self) -> Random:
        """What everything of the share is drawn from."""
        return Random(f"{SEED} {self}")


def _shared(sqlite: Sequence[int], postgres: int) -> list[Share]:
    """Shares of so many hundredths of all requests each; those in PostgreSQL are about a fifth."""
    hundredths: list[tuple[Database, int]] = [("sqlite", each) for each in sqlite]
    hundredths += [("postgres", postgres)] if postgres else []
    return [Share(database, number, REQUESTS * each // 100) for number, (database, each) in enumerate(hundredths)]


# Of few requests, one share has enough of them to check what each kind comes to.
CALLS: Final = _shared((20, 20, 20), 15) if REQUESTS * 20 // 100 >= ENOUGH else _shared((60,), 15)
FILES: Final = _shared((12,), 3)
ARCHIVES: Final = _shared((10,), 0)


@contextmanager
def again(share: Share) -> Iterator[None]:
    """Adds to a failure how to make it again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"Make it again by OFFTAKE_FUZZ_SEED={SEED} OFFTAKE_FUZZ_REQUESTS={REQUESTS} and -k {share}.")
        raise
