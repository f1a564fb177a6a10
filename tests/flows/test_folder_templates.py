import re
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.contract.folder_templates import MACROS, TemplateValues, check_template, expand

NAMES = TemplateValues(
    destination="Amazon S3",
    dataset_id="5ef3e3259ad2a1191ab7dd7d",
    dataset_name="Loyalty Members",
    flow_name="Loyalty to partner",
    flow_id="eb54b3b3-3949-4f12-89c8-64eafaba858f",
    sandbox_name="prod",
    organization_name="Example Org",
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


SLOT = at("2026-03-01T06:00:00")


def test_without_a_template_each_dataset_and_slot_has_its_folder() -> None:
    assert expand(None, NAMES, SLOT) == "5ef3e3259ad2a1191ab7dd7d/exportTime=202603010600"


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        (
            "%DESTINATION%_%DATASET_ID%_%DATETIME(YYYYMMdd_HHmmss)%",
            "Amazon S3_5ef3e3259ad2a1191ab7dd7d_20260301_060000",
        ),
        ("%SANDBOX_NAME%/%DATASET_NAME%/%EXPORT_TIME%", "prod/Loyalty Members/exportTime=202603010600"),
    ],
)
def test_the_worked_expansions_of_the_contract_hold(template: str, folder: str) -> None:
    assert check_template(template) == []
    assert expand(template, NAMES, SLOT) == folder


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("%DESTINATION%", "Amazon S3"),
        ("%DESTINATION_NAME%", "Amazon S3"),
        ("%DATASET_ID%", "5ef3e3259ad2a1191ab7dd7d"),
        ("%DATASET_NAME%", "Loyalty Members"),
        ("%DATETIME(YYYYMMdd_HHmmss)%", "20260301_060000"),
        ("%DATETIME(yyyyMMdd_HHmmss)%", "20260301_060000"),
        ("%EXPORT_TIME%", "exportTime=202603010600"),
        ("%DESTINATION_INSTANCE_NAME%", "Loyalty to partner"),
        ("%DESTINATION_INSTANCE_ID%", "eb54b3b3-3949-4f12-89c8-64eafaba858f"),
        ("%SANDBOX_NAME%", "prod"),
        ("%ORGANIZATION_NAME%", "Example Org"),
    ],
)
def test_every_macro_of_the_contract_expands(macro: str, value: str) -> None:
    assert check_template(macro) == []
    assert expand(macro, NAMES, SLOT) == value
    assert expand(f"a_{macro}_{macro}", NAMES, SLOT) == f"a_{value}_{value}"


@pytest.mark.parametrize("macro", MACROS)
def test_every_macro_that_a_message_offers_can_be_used(macro: str) -> None:
    assert check_template(macro) == []
    assert expand(macro, NAMES, SLOT)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("YYYY", "2027"),
        ("yyyy", "2027"),
        ("MM", "04"),
        ("dd", "09"),
        ("DD", "09"),
        ("HH", "21"),
        ("mm", "08"),
        ("ss", "07"),
        ("HHmm", "2108"),
        ("YYYY-MM-DD", "2027-04-09"),
        ("yyyy/MM/dd", "2027/04/09"),
        ("YYYYyyyy", "20272027"),
    ],
)
def test_the_pattern_letters_are_those_of_java(pattern: str, value: str) -> None:
    template = f"%DATETIME({pattern})%"
    assert check_template(template) == []
    assert expand(template, NAMES, at("2027-04-09T21:08:07.999")) == value


@pytest.mark.parametrize("day", ["2027-01-01", "2024-12-30", "2026-12-31", "2021-01-03"])
@pytest.mark.parametrize("year", ["YYYY", "yyyy"])
def test_the_year_is_the_calendars_even_where_the_weeks_year_differs(day: str, year: str) -> None:
    assert expand(f"%DATETIME({year}-MM-dd)%", NAMES, at(f"{day}T00:00:00")) == day


def test_export_time_is_truncated_to_the_minute() -> None:
    assert expand("%EXPORT_TIME%", NAMES, at("2026-03-01T06:00:59.999")) == "exportTime=202603010600"


def test_both_time_macros_give_the_same_instant() -> None:
    template = "%EXPORT_TIME%/%DATETIME(YYYYMMddHHmm)%"
    assert check_template(template) == []
    assert expand(template, NAMES, SLOT) == "exportTime=202603010600/202603010600"


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("/", ""),
        ("//", ""),
        ("/exports/%DATASET_ID%/", "exports/5ef3e3259ad2a1191ab7dd7d"),
        ("a//b", "a/b"),
        ("a. /.b ", "a/b"),
        ("plain text", "plain text"),
        ("crm=1+2@x.y-z_/%DATASET_ID%", "crm=1+2@x.y-z_/5ef3e3259ad2a1191ab7dd7d"),
    ],
)
def test_slashes_of_the_template_separate_folders_and_nothing_is_empty(template: str, folder: str) -> None:
    assert check_template(template) == []
    assert expand(template, NAMES, SLOT) == folder


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Loyalty Members", "Loyalty Members"),
        ("eu/west", "eu_west"),
        ("..", "_"),
        (".", "_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("", "_"),
        (" . ", "_"),
        ("  trimmed. ", "trimmed"),
        ("Grüße, 你好\t\x00", "Gr__e_ ____"),
        ("C:\\temp", "C__temp"),
        ("100%DATASET_ID%", "100_DATASET_ID_"),
        ("a.b_c-d=e+f@g h", "a.b_c-d=e+f@g h"),
        ("x" * 300, "x" * 255),
        ("x" * 254 + ". y", "x" * 254),
    ],
)
def test_names_are_made_fit_for_one_folder(name: str, folder: str) -> None:
    assert expand("%DATASET_NAME%", replace(NAMES, dataset_name=name), SLOT) == folder


def test_only_the_ends_of_a_folder_are_trimmed() -> None:
    names = replace(NAMES, dataset_name="v1.", flow_name=" nightly ")
    assert expand("%DATASET_NAME%_%DESTINATION_INSTANCE_NAME%", names, SLOT) == "v1._ nightly"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", ["must not be empty", "/"]),
        ("x" * 513, ["512", "513"]),
        ("%DATASET_ID%/%EXPORT_TIME", ["unpaired %"]),
        ("100%", ["unpaired %"]),
        ("%FOO%", ["%FOO%", "%DATASET_ID%", "%EXPORT_TIME%", "%DATETIME(YYYYMMdd_HHmmss)%"]),
        ("%dataset_id%", ["%dataset_id%", "%DATASET_ID%"]),
        ("%%", ["%%", "%DATASET_ID%"]),
        ("%DATETIME%", ["%DATETIME%", "%DATETIME(YYYYMMdd_HHmmss)%"]),
        ("%DATETIME(YYYY%", ["unknown macro", "%DATETIME(YYYY%"]),
        ("%DATETIME()%", ["no pattern letters"]),
        ("%DATETIME(_)%", ["no pattern letters"]),
        ("%DATETIME(YY)%", ["YY", "YYYY"]),
        ("%DATETIME(M)%", ["M", "MM"]),
        ("%DATETIME(hh)%", ["hh", "HH"]),
        ("%DATETIME(YYYYw)%", ["w", "YYYY"]),
        ("%DATETIME(YYYY))%", ["')'"]),
        ("%DATETIME(HH:mm)%", ["':'"]),
        ("a\\b", [r"'\\'", "letters, digits"]),
        ("a\nb", [r"'\n'"]),
        ("a\x00b", [r"'\x00'"]),
        ("Grüße", ["'ü'", "'ß'"]),
        ("a:b?*", ["':'", "'?'", "'*'"]),
        ("../%DATASET_ID%", ["dots or spaces only"]),
        ("%DATASET_ID%/..", ["dots or spaces only"]),
        ("a/./b", ["dots or spaces only"]),
        ("a/ /b", ["dots or spaces only"]),
        ("...", ["dots or spaces only"]),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_what_is_allowed(template: str, words: list[str]) -> None:
    (problem,) = check_template(template)
    assert [word for word in words if word not in problem] == []


def test_all_problems_of_a_template_are_reported_at_once_and_once() -> None:
    problems = check_template("%FOO%/%FOO%/%DATETIME(YY:hh)%/a*b/..")
    assert [re.findall(r"unknown macro|':'|YY in|hh in|'\*'|dots", problem) for problem in problems] == [
        ["unknown macro"],
        ["':'"],
        ["YY in"],
        ["hh in"],
        ["'*'"],
        ["dots"],
    ]


def test_the_longest_template_is_accepted() -> None:
    assert check_template("x" * 512) == []


@pytest.mark.parametrize("template", ["%FOO%", "100%", "%DATETIME(QQ)%", "%DATETIME(YYYY)\\%"])
def test_a_template_that_was_never_checked_writes_no_literal_macro(template: str) -> None:
    with pytest.raises(ValueError, match="is unknown"):
        expand(template, NAMES, SLOT)


any_names = st.builds(TemplateValues, **{field.name: st.text(max_size=300) for field in fields(TemplateValues)})
pieces = st.lists(st.sampled_from([*MACROS, "/", "_", ".", " ", "a", "%DATETIME(YYYY/MM)%"]), min_size=1, max_size=12)
instants = st.integers(0, at("2100-01-01T00:00:00"))


@given(template=pieces.map("".join), names=any_names, export_time_ms=instants)
def test_no_name_whatever_leads_out_of_its_folder(template: str, names: TemplateValues, export_time_ms: int) -> None:
    folder = expand(template, names, export_time_ms)
    segments = folder.split("/") if folder else []
    assert all(re.fullmatch(r"[A-Za-z0-9._\-=+@ ]{1,255}", segment) for segment in segments)
    assert all(segment == segment.strip(". ") for segment in segments)
    assert len(segments) == len(expand(template, NAMES, export_time_ms).split("/")) or not segments


@given(template=st.text(max_size=60), names=any_names, export_time_ms=instants)
def test_a_template_that_passes_the_check_always_expands(
    template: str, names: TemplateValues, export_time_ms: int
) -> None:
    if check_template(template) == []:
        assert not {"%", "\\", "\0"} & set(expand(template, names, export_time_ms))


@given(template=st.text(alphabet="%DATETIME()YMdHms_/. ab", max_size=60))
def test_the_check_never_fails_and_says_yes_only_to_what_expands(template: str) -> None:
    if check_template(template) == []:
        assert "%" not in expand(template, NAMES, SLOT)
