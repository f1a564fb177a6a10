"""What a person types to confirm that something is deleted for good."""

import unicodedata
from typing import Final

from starlette.datastructures import FormData

from offtake.web.form_body import text

_LONGEST: Final = 100
_VISIBLE: Final = ("L", "N", "P", "S")
"""Categories of Unicode that a person sees: letters, numbers, punctuation and symbols."""


def name_to_type(name: str, row_id: str) -> str:
    """The name; the id for a name that is long, or that has characters which a person does not see."""
    shown = unicodedata.normalize("NFC", name.strip())
    is_plain = all(one == " " or unicodedata.category(one).startswith(_VISIBLE) for one in shown)
    return shown if shown and len(shown) <= _LONGEST and is_plain and "  " not in shown else row_id


def wrong_name(form: FormData, name: str, row_id: str) -> str:
    """Why the typed confirmation is wrong; empty when it is right."""
    wanted = name_to_type(name, row_id)
    typed = unicodedata.normalize("NFC", text(form, "typed"))
    return "" if typed == wanted else f"Nothing was changed: type {wanted} to confirm."
