"""The searched histories of `test_any_delivery.py` for registered tables: another lake makes the changes."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from offtake.cli.main import main
from tests.conftest import NOON
from tests.deployment import deployment
from tests.fake_clock import FakeClock
from tests.lake.lakes import TABLE, lake_in
from tests.lake.test_any_history import BITS, History
from tests.scheduling.flaky_destination import FaultyEngine
from tests.scheduling.test_any_delivery import CHANGES, EXAMPLES, AnyDelivery, World


class AnyRegisteredDelivery(AnyDelivery):
    """A flow of one registered dataset. Its table is not made again: that is another table, which runs refuse."""

    imports = False
    writers: Path

    def make_dataset(self) -> tuple[str, History]:
        name = self.name.replace(" ", "-")
        writer = lake_in(self.writers / name)
        history = History(writer)
        here = ["--data-dir", str(self.backend.settings.data_dir)]
        url, warehouse = f"sqlite:///{self.writers / name / 'catalog.db'}", self.writers / name
        properties = [f"uri={url}", "catalog-name=offtake", f"warehouse={warehouse}"]
        options = [word for one in properties for word in ("--property", one)]
        assert main(["catalog", "add", name, "--type", "sql", *options, *here]) == 0
        assert main(["dataset", "register", self.name, "--catalog", name, "--table", TABLE, *here]) == 0
        datasets = self.deployed.http.get("/data/foundation/catalog/dataSets").json()
        (found,) = [key for key, one in datasets.items() if one["name"] == self.name]
        return found, history

    @rule(change=CHANGES, bits=BITS)
    def table_changes(self, change: str, bits: int) -> None:
        super().table_changes(change if change != "recreate" else "append", bits)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    engine = FaultyEngine()
    with (
        TemporaryDirectory() as folder,
        deployment(Path(folder), FakeClock(NOON), engine, part_bytes=1, part_max_attempts=2) as deployed,
    ):
        yield World(deployed, engine, count())


@pytest.mark.search
def test_whatever_happens_the_consumer_of_a_registered_table_holds_what_it_must(world: World, tmp_path: Path) -> None:
    machine = type("AnyDeliveryHere", (AnyRegisteredDelivery,), {"world": world, "writers": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            phases=set(Phase) - {Phase.explain},  # which would take minutes
        ),
    )
