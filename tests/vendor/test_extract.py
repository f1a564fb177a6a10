"""The extracts say what the vendor's documents say. Collected only where those are (see conftest.py)."""

from tests.vendor.conftest import OPENAPI
from tests.vendor.extract import HERE, extract, written


def test_the_extracts_are_what_the_documents_give() -> None:
    extracts = {path.stem: path.read_text(encoding="utf-8") for path in HERE.glob("*.json")}
    assert extracts == {name: written(document) for name, document in extract(OPENAPI).items()}
