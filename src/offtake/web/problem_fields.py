"""Problems of a form: by_field their fields, and in the summary at its top."""

from collections.abc import Mapping, Sequence

from offtake.contract import problems
from offtake.contract.problems import Problem

_AS_PAGES = (problems.FORBIDDEN, problems.NOT_FOUND)


def problems_of(error: Problem, fields: Mapping[str, str]) -> tuple[dict[str, str], Sequence[tuple[str, str, str]]]:
    """The texts by field, and the summary as (field, label, text). `fields`: the labels, by name.

    A problem belongs to the last step of its path that is a field. Raises `error` itself when it is not about the form:
    a missing permission, or something that is not found.
    """
    if error.code in _AS_PAGES:
        raise error
    by_field: dict[str, str] = {}
    summary = []
    for problem in error.fields:
        name = next((step for step in reversed(problem.path.split("/")) if step in fields), "")
        text = problem.message
        if name:
            by_field.setdefault(name, text)
        summary.append((name, fields.get(name, ""), text))
    return by_field, summary or [("", "", str(error))]
