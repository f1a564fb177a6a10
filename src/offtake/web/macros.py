"""The macros of folder templates for people: what each stands for, its value in this export, and mistakes in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offtake.contract import folder_templates
from offtake.contract.folder_templates import TemplateValues

_COMMON: Final = (
    ("%DATASET_NAME%", "Dataset's name"),
    ("%DATETIME(yyyy-MM-dd)%", "Date"),
    ("%EXPORT_TIME%", "Time of the run"),
    ("%DESTINATION_INSTANCE_NAME%", "Dataflow's name"),
)
_OTHERS: Final = (
    ("%DATASET_ID%", "Dataset's id"),
    ("%DATETIME(YYYYMMdd_HHmmss)%", "Date and time"),
    ("%DESTINATION_NAME%", "Destination"),
    ("%DESTINATION_INSTANCE_ID%", "Dataflow's id"),
    ("%SANDBOX_NAME%", "Sandbox"),
    ("%ORGANIZATION_NAME%", "Organisation"),
)
PREFILLED: Final = "%DATASET_NAME%/%EXPORT_TIME%"
"""What the wizard suggests. The contract's default has the dataset's id, which means nothing to a recipient."""


@dataclass(frozen=True)
class Macro:
    """A macro with what it stands for and its value. `common`: shown first."""

    text: str
    label: str
    value: str
    common: bool


def shown(values: TemplateValues, at_ms: int) -> Sequence[Macro]:
    """The macros with their values for a run at that time, the common ones first."""
    return [
        Macro(text, label, folder_templates.expand(text, values, at_ms), common=known is _COMMON)
        for known in (_COMMON, _OTHERS)
        for text, label in known
    ]


def problem_of(template: str) -> str:
    """What is wrong with a template, for people; empty for a valid one, and for the default."""
    if not template:
        return ""
    unknown = folder_templates.unknown_macros(template) if not template.count("%") % 2 else {}
    if not unknown:
        return "; ".join(folder_templates.check_template(template))
    return " ".join(
        f"{macro} is unknown. Do you mean {near}?" if near else f"{macro} is unknown. Choose one of the macros below."
        for macro, near in unknown.items()
    )
