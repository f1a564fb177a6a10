from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.flows.folders import MACROS, FolderNames, check_template, expand

NAMES = FolderNames(
    destination="Amazon S3",
    dataset_id="5ef3e3259ad2a1191ab7dd7d",
    dataset_name="Loyalty Members",
    flow_name="CRM: daily/all",
    flow_id="eb54b3b3",
    sandbox_name="prod",
    organization_name="Acmé..",
)


def ms(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


SLOT = ms(2026, 3, 1, 6)


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        (None, "5ef3e3259ad2a1191ab7dd7d/exportTime=202603010600"),
        ("/", ""),
        (
            "%DESTINATION%_%DATASET_ID%_%DATETIME(YYYYMMdd_HHmmss)%",
            "Amazon S3_5ef3e3259ad2a1191ab7dd7d_20260301_060000",
        ),
        ("%SANDBOX_NAME%/%DATASET_NAME%/%EXPORT_TIME%", "prod/Loyalty Members/exportTime=202603010600"),
        ("%DESTINATION_NAME%", "Amazon S3"),
        ("%DESTINATION_INSTANCE_NAME%-%DESTINATION_INSTANCE_ID%", "CRM_ daily_all-eb54b3b3"),
        ("%ORGANIZATION_NAME%", "Acm_"),
        ("/a//b/", "a/b"),
        ("%EXPORT_TIME%/%DATETIME(yyyy-MM-DD HH.mm.ss)%", "exportTime=202603010600/2026-03-01 06.00.00"),
    ],
)
def test_templates_expand(template: str | None, folder: str) -> None:
    assert template is None or check_template(template) == []
    assert expand(template, NAMES, SLOT) == folder


@pytest.mark.parametrize(("when", "year"), [(ms(2027, 1, 1), "2027"), (ms(2024, 12, 30), "2024")])
def test_the_year_is_the_calendar_year_whatever_its_letters(when: int, year: str) -> None:
    assert expand("%DATETIME(YYYY)%", NAMES, when) == expand("%DATETIME(yyyy)%", NAMES, when) == year


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("%FOO%", "%FOO%"),
        ("%DATASET_ID", "not closed"),
        ("%%", "%%"),
        ("", "empty"),
        ("%DATETIME(YYYYww)%", "ww"),
        ("%DATETIME(Y)%", "Y"),
        ("%DATETIME()%", "pattern"),
        ("%DATETIME(yyyy:MM)%", "characters"),
        ("../secrets", "dots"),
        ("a/./b", "dots"),
        ("a\\b", "letters"),
        ("a\nb", "letters"),
        ("x" * 513, "512"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(template: str, word: str) -> None:
    assert any(word in problem for problem in check_template(template))


def test_an_unknown_macro_names_the_known_ones() -> None:
    assert all(macro in check_template("%FOO%")[0] for macro in MACROS)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_leads_out_of_its_folder(dataset_name: str, flow_name: str) -> None:
    names = FolderNames("d", "i", dataset_name, flow_name, "f", "s", "o")
    segments = expand("%DATASET_NAME%/%DESTINATION_INSTANCE_NAME%", names, SLOT).split("/")
    assert len(segments) == 2
    assert all(segment and segment == segment.strip(". ") and segment.isprintable() for segment in segments)


@given(st.text(alphabet="%DATE_SINRO()yMd/. ", max_size=60))
def test_what_passes_the_check_expands_to_a_safe_folder(template: str) -> None:
    if check_template(template):
        return
    folder = expand(template, NAMES, SLOT)
    assert "%" not in folder
    assert not folder.startswith("/")
    assert all(segment not in ("", ".", "..") for segment in folder.split("/") if folder)
