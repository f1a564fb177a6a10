"""How commands print tables."""

import pytest

from offtake.cli import output

ID = "9f5ab5a2-7d5e-4c83-a7ce-33efbd55fd0f"


def test_nothing_of_a_table_is_cut_however_narrow_the_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output.table(("ID", "NAME", "STATE"), [(ID, "a name of forty characters, which is long", "enabled")] * 2, "None.")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [f"{ID}  a name of forty characters, which is long  enabled"] * 2


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME",), [("[/b] [red]x[/red]",), (None,)], "None.")
    assert "[/b] [red]x[/red]" in capsys.readouterr().out
