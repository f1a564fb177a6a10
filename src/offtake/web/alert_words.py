"""Words of alerts as the pages use them: what the API calls a flow is a dataflow here."""

import re
from collections.abc import Sequence
from typing import Final

from offtake.alerts import topics

_FLOW: Final = re.compile(r"\b([Ff])low(s?)\b")


def plain(text: str) -> str:
    """A text of the API with the pages' word for flows."""
    return _FLOW.sub(lambda found: ("Data" if found[1] == "F" else "data") + f"flow{found[2]}", text)


def topic_choices() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The topics in groups: (name, label, meaning) of each."""
    groups = {"Problems and recoveries": True, "Information": False}
    return [
        (title, [(name, label(name), _sentence(one.meaning)) for name, one in topics.TOPICS.items() if _is(name, kind)])
        for title, kind in groups.items()
    ]


def label(topic: str) -> str:
    """A topic's name as a label."""
    return topic.replace("-", " ").capitalize()


def topics_in_words(names: Sequence[str]) -> str:
    """The topics of a rule in one line."""
    if set(names) == set(topics.DEFAULT):
        return "All problems and recoveries"
    return "Everything" if set(names) == set(topics.TOPICS) else ", ".join(label(one) for one in names)


def _is(name: str, is_default: bool) -> bool:
    return (name in topics.DEFAULT) == is_default


def _sentence(meaning: str) -> str:
    text = plain(meaning)
    return f"{text[0].upper()}{text[1:]}."
