from pathlib import Path

import pytest
from pydantic import ValidationError

from offtake.renamed_settings import RENAMED
from offtake.settings import Settings

VALUES = {"processes": "3", "uploads": "somewhere", "part_attempts": "", "disable_failing": "true"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "offtake.renamed_settings"]


def test_every_earlier_name_stands_for_a_setting_and_is_none_itself() -> None:
    assert set(RENAMED.values()) <= Settings.model_fields.keys()
    assert not RENAMED.keys() & Settings.model_fields.keys()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("old", RENAMED)
def test_a_variable_by_its_earlier_name_works_with_a_warning(
    old: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = RENAMED[old]
    monkeypatch.setenv(f"OFFTAKE_{new.upper()}", VALUES.get(old, "1"))
    expected = getattr(Settings(), new)
    assert warnings(caplog) == []
    monkeypatch.delenv(f"OFFTAKE_{new.upper()}")
    monkeypatch.setenv(f"OFFTAKE_{old.upper()}", VALUES.get(old, "1"))
    assert getattr(Settings(), new) == expected
    assert warnings(caplog) == [
        f"The setting OFFTAKE_{old.upper()} is now called OFFTAKE_{new.upper()}; the old name still works."
    ]


@pytest.mark.parametrize("old", ["processes", "Processes", "PROCESSES"])
def test_a_file_by_earlier_names_works_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture, old: str) -> None:
    (folder / "offtake.toml").write_text(f"{old} = 3\nlease_seconds = 7\n")
    settings = Settings()
    assert (settings.export_processes, settings.lease_seconds) == (3, 7)
    assert warnings(caplog) == ["The setting processes is now called export_processes; the old name still works."]


def test_the_present_name_wins_over_the_earlier_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "offtake.toml").write_text("processes = 3\nexport_processes = 4\n")
    assert Settings().export_processes == 4
    assert warnings(caplog) == ["The setting processes is ignored, because export_processes is set; remove it."]
    monkeypatch.setenv("OFFTAKE_PROCESSES", "5")
    assert Settings().export_processes == 5
    monkeypatch.setenv("OFFTAKE_EXPORT_PROCESSES", "6")
    caplog.clear()
    assert Settings().export_processes == 6
    assert warnings(caplog)[0] == (
        "The setting OFFTAKE_PROCESSES is ignored, because OFFTAKE_EXPORT_PROCESSES is set; remove it."
    )


def test_an_unknown_name_in_the_file_is_refused(folder: Path) -> None:
    (folder / "offtake.toml").write_text("proceses = 3\n")
    with pytest.raises(ValidationError, match="proceses"):
        Settings()
