"""The form of an alert rule: as it is stored or was sent, and as `alerts.rules` takes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import FormData

from offtake.alerts import limits, topics
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.web.alert_words import plain
from offtake.web.form_body import text, texts

GROUPED: Final = "grouped"
SINGLE: Final = "single"
LABELS: Final = {
    "name": "Name",
    "flowId": "About",
    "topics": "Topics",
    "channelIds": "Channels",
    "groupSeconds": "Seconds before the first message",
    "repeatSeconds": "Seconds between messages",
}
_AS_PAGES: Final = (problems.FORBIDDEN, problems.NOT_FOUND)


@dataclass(frozen=True)
class RuleForm:
    """What the form shows. `problems`: by field. `summary`: (field, label, text) triples."""

    name: str = ""
    flow_id: str = ""
    topics: Sequence[str] = topics.DEFAULT
    channel_ids: Sequence[str] = ()
    is_enabled: bool = True
    grouping: str = GROUPED
    group_seconds: str = str(limits.GROUP_SECONDS)
    repeat_seconds: str = str(limits.REPEAT_SECONDS)
    problems: dict[str, str] = field(default_factory=dict)
    summary: Sequence[tuple[str, str, str]] = ()


def of_stored(document: Json) -> RuleForm:
    """The form of a stored rule (`rules.render`)."""
    return RuleForm(
        name=document["name"],
        flow_id=document["flowId"] or "",
        topics=document["topics"],
        channel_ids=document["channelIds"],
        is_enabled=document["enabled"],
        grouping=SINGLE if document["single"] else GROUPED,
        group_seconds=str(document["groupSeconds"]),
        repeat_seconds=str(document["repeatSeconds"]),
    )


def of_sent(form: FormData, problem: Problem | None = None) -> RuleForm:
    """The form as it was sent, with its problems. Raises a problem that is not the form's."""
    if problem is not None and problem.code in _AS_PAGES:
        raise problem
    found: dict[str, str] = {}
    for one in problem.fields if problem is not None else ():
        found.setdefault(one.path.removeprefix("/").partition("/")[0], plain(one.message))
    named = [(name if name in LABELS else "", LABELS.get(name, name), message) for name, message in found.items()]
    return RuleForm(
        name=text(form, "name"),
        flow_id=text(form, "flowId"),
        topics=texts(form, "topics"),
        channel_ids=texts(form, "channelIds"),
        is_enabled="enabled" in form,
        grouping=text(form, "grouping"),
        group_seconds=text(form, "groupSeconds"),
        repeat_seconds=text(form, "repeatSeconds"),
        problems=found,
        summary=[*named, *([("", "", plain(str(problem)))] if problem is not None and not found else [])],
    )


def body(form: FormData) -> Json:
    """The rule as `rules.create` and `rules.merge` take it."""
    return {
        "name": text(form, "name"),
        "flowId": text(form, "flowId") or None,
        "topics": texts(form, "topics"),
        "channelIds": texts(form, "channelIds"),
        "enabled": "enabled" in form,
        "single": text(form, "grouping") == SINGLE,
        "groupSeconds": _whole(text(form, "groupSeconds")),
        "repeatSeconds": _whole(text(form, "repeatSeconds")),
    }


def _whole(sent: str) -> int | str:
    return int(sent) if sent.isascii() and sent.isdecimal() and len(sent) < 10 else sent  # noqa: PLR2004 - digits
