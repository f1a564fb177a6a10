"""The property of `test_any_history.py` for registered tables: another deployment's lake makes the changes.

The catalog is read as SQL and over REST; the files are in a folder.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from offtake.errors import DATASET_GONE, DeliveryError
from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.catalogs.declarations import CatalogType, TypeName
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.registered import RegisteredTables
from offtake.lake.table_names import RegisteredTable, TableName, registered_name
from tests.lake.lakes import lake_in
from tests.lake.test_any_history import ACTIONS, EXAMPLES, History, act
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog

IDENTIFIER = ("sales", "orders")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},  # which would take minutes
)
@given(st.sampled_from(("sql", "rest")), ACTIONS)
def test_increments_of_a_registered_table_have_the_rows_added_since_the_last_export(
    server: RestCatalogServer, kind: TypeName, actions: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, reading(Path(folder), kind, server) as reader:
        history = RegisteredHistory(lake_in(Path(folder) / "writer"), reader=reader, server=server)
        try:
            for action, bits in actions:
                act(history, action, bits)
            history.export()
        finally:
            history.lake.close()


@pytest.fixture(scope="module", autouse=True)
def _any_catalog_may_read_folders() -> Iterator[None]:
    """So that no object store is needed; a REST catalog reads no folder otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CatalogType, "has_folders", True)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestCatalogServer]:
    """One server for all examples, which sets its tables."""
    lake = lake_in(tmp_path_factory.mktemp("server"))
    with rest_catalog(lake.catalog) as found:
        yield found
    lake.close()


@contextmanager
def reading(folder: Path, kind: TypeName, server: RestCatalogServer) -> Iterator[Lake]:
    """A deployment in which the writer's catalog was added."""
    properties = {"uri": f"sqlite:///{folder / 'writer' / 'catalog.db'}", "catalog-name": "offtake"}
    if kind == "rest":
        properties = {"uri": server.origin, "credential": ":".join(CLIENT)}
    config = CatalogConfig("1", "writer", kind, {**properties, "warehouse": str(folder / "writer")})
    (folder / "reader").mkdir()
    opened = Lake(
        f"sqlite:///{folder / 'reader' / 'catalog.db'}",
        f"file://{folder / 'reader' / 'warehouse'}",
        RegisteredTables(lambda _id: config),
    )
    yield opened
    opened.close()


@dataclass
class RegisteredHistory(History):
    """Changes are made by the writer, exports by the reader, who has registered the table as `registered`."""

    reader: Lake = field(kw_only=True)
    server: RestCatalogServer = field(kw_only=True)
    registered: TableName | None = None

    def export(self) -> None:
        writer, name = self.lake, self.name
        self.server.tables = writer.catalog
        self.lake, self.name = self.reader, self.register()
        try:
            super().export()
        finally:
            self.lake, self.name = writer, name

    def register(self) -> TableName:
        """Register the table, at first and when it was dropped and made again: then the old name has no table."""
        uuid = str(self.table.metadata.table_uuid)
        name = registered_name(RegisteredTable("1", IDENTIFIER, uuid))
        if self.registered is not None and name != self.registered:
            with pytest.raises(DeliveryError, match="dropped and made again") as refused:
                scan.open_table(self.reader, self.registered)
            assert refused.value.code == DATASET_GONE.code
        self.registered = name
        return name
