import pytest

from offtake.contract.folder_templates import MACROS, TemplateValues, check_template
from offtake.web import macros

VALUES = TemplateValues("S3", "84f3", "Orders", "Orders to Acme", "id", "prod", "Acme")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("%DATASET_NAM%/x", "%DATASET_NAM% is unknown. Do you mean %DATASET_NAME%?"),
        ("%dataset_name%", "%dataset_name% is unknown. Do you mean %DATASET_NAME%?"),
        ("%DATETIME%", "%DATETIME% is unknown. Do you mean %DATETIME(YYYYMMdd_HHmmss)%?"),
        ("%EXPORTTIME%", "%EXPORTTIME% is unknown. Do you mean %EXPORT_TIME%?"),
        ("%QUARTER%", "%QUARTER% is unknown. Choose one of the macros below."),
        ("", ""),
        ("%DATASET_NAME%/%DATETIME(yyyy)%", ""),
    ],
)
def test_an_unknown_macro_is_named_with_the_one_that_was_meant(template: str, problem: str) -> None:
    assert macros.problem_of(template) == problem


@pytest.mark.parametrize("template", ["%X", "a:b", "%DATETIME(QQ)%", ".", "x" * 600])
def test_every_other_problem_is_that_of_the_contract(template: str) -> None:
    assert macros.problem_of(template) == "; ".join(check_template(template))


def test_every_macro_is_offered_with_its_value() -> None:
    shown = {one.text: one.value for one in macros.shown(VALUES, 1_772_344_800_000)}
    missing = set(MACROS) - set(shown)
    assert missing == {"%DESTINATION%"}, "the same as %DESTINATION_NAME%"
    assert shown["%DATASET_NAME%"] == "Orders"
    assert shown["%DATETIME(yyyy-MM-dd)%"] == "2026-03-01"
    assert macros.problem_of(macros.PREFILLED) == ""
