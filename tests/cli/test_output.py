"""How commands print tables, on a terminal and to a pipe."""

import json
import time
from collections.abc import Iterator

import pytest

from offtake.cli import output
from offtake.cli.output import Id, Instant

UUID = "9f5ab5a2-7d5e-4c83-a7ce-33efbd55fd0f"
ULID = "01M8P9960JEF035R3BX755X5BQ"
NOON = 1_772_366_400_000
LONG = "a name of forty characters, which is long"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in Zurich's time."""
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()


@pytest.fixture(autouse=True)
def _own_time() -> Iterator[None]:
    yield
    time.tzset()


def test_a_pipe_gets_whole_values_and_a_row_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [(Id(UUID), LONG, Instant(NOON)), (Id(None), "two\nlines\tand a tab", None)]
    output.table(("ID", "NAME", "AT"), rows, "None.")
    assert capsys.readouterr().out.splitlines() == [
        "ID\tNAME\tAT",
        f"{UUID}\t{LONG}\t2026-03-01 12:00:00Z",
        "\ttwo lines and a tab\t",
    ]


def test_a_pipe_gets_nothing_when_there_is_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("ID",), [], "No flows yet.")
    assert capsys.readouterr() == ("", "No flows yet.\n")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("width", [40, 60, 100, 120])
def test_a_terminal_gets_a_table_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [(Id(UUID), LONG, Instant(NOON, " (by default)")), (Id(ULID), "b", "")]
    output.table(("ID", "NAME", "AT"), rows, "None.")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert UUID[:8] in printed
    assert UUID[:9] not in printed
    assert ULID[:13] in printed
    assert ("13:00 local" in printed) == (width >= 120)
    assert "".join(printed.split()).count("aname") == 1


@pytest.mark.usefixtures("terminal")
def test_local_times_have_a_date_where_it_is_another_day(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    output.table(("AT",), [(Instant(NOON + 41_400_000),)], "None.")
    assert "2026-03-01 23:30:00Z (03-02 00:30 local)" in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME",), [("[/b] [red]x[/red]",), (None,)], "None.")
    assert "[/b] [red]x[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("whole", "short"),
    [(UUID, UUID[:8]), (ULID, ULID[:13]), ("65f0c2a1b4d3e2f1a0b9c8d7", "65f0c2a1"), ("partner@clients", None)],
)
def test_ids_that_people_chose_are_not_shortened(whole: str, short: str | None) -> None:
    assert output.short_id(whole) == (short or whole)


def test_json_has_no_control_characters_of_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a\x1b\x9b\x7f\u2028\u202e\tö😀"
    output.as_json({"text": text})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"text": text}
    assert not set(printed) & set("\x1b\x9b\x7f\u2028\u202e")
    output.row(json.dumps({"text": text}, ensure_ascii=False))
    printed = capsys.readouterr().out
    assert (json.loads(printed)["text"], len(printed.splitlines())) == (text, 1)
    output.line(text)
    output.note(text)
    assert set(capsys.readouterr()) == {"a     \tö😀\n"}


def test_numbers_of_things_have_the_right_noun() -> None:
    found = [output.count_of(number, "file") for number in (0, 1, 2, 1200)]
    assert found == ["0 files", "1 file", "2 files", "1,200 files"]
    assert output.count_of(2, "batch", "batches") == "2 batches"
