"""Options that are made from declarations: functions whose parameters Typer reads, as if they were written out."""

from collections.abc import Callable, Iterable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.client.destinations import Field

_TYPES: Final[dict[str, Any]] = {"string": str, "integer": int, "boolean": bool}
_ENCODED: Final = ", encoded as Base64"
FILE: Final = "_file"
Options = dict[str, Parameter]
"""Parameters by name, in the order of the help."""


def options_of(fields: Iterable[Field], panel: str | None = None, *, secret_file: str | None = None) -> Options:
    """An option of each field; of a secret two: a reference to an environment variable, and a file.

    `secret_file`: another name of the files' options.
    """
    found: Options = {}
    for field in fields:
        name = name_of(field)
        if field.is_typed:
            found[name] = _parameter(name, _plain(field, panel))
            continue
        text = field.help.replace(_ENCODED, "")
        reference = typer.Option(field.option, metavar="env:VARIABLE", help=text, rich_help_panel=panel)
        decls = [f"{field.option}-file", *([secret_file] if secret_file else [])]
        file = typer.Option(*decls, help=f"A file with the value of {field.option}.", rich_help_panel=panel)
        found[name] = _parameter(name, Annotated[str | None, reference])
        found[name + FILE] = _parameter(name + FILE, Annotated[Path | None, file])
    return found


def written_options(**annotations: Any) -> Options:  # noqa: ANN401 - types
    """The options with these annotations, by parameter: stated once for the commands that share them."""
    return {name: _parameter(name, one) for name, one in annotations.items()}


def name_of(field: Field) -> str:
    """The parameter's name."""
    return field.word.replace("-", "_")


def with_options(function: Callable[..., None], options: Options, before: str, doc: str = "") -> Callable[..., None]:
    """The function as a command that has these options too, in the help before the parameter `before`.

    The function takes them as `**` keywords. `doc`: its help, if it is not the function's docstring.
    """
    parameters: list[Parameter] = []
    for one in signature(function, eval_str=True).parameters.values():
        if one.name == before:
            parameters += options.values()
        if one.kind is not Parameter.VAR_KEYWORD:
            parameters.append(one.replace(kind=Parameter.KEYWORD_ONLY))

    def run(**given: object) -> None:
        function(**given)

    run.__doc__ = doc or function.__doc__
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    run.__signature__ = Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    return run


def _parameter(name: str, annotation: Any) -> Parameter:  # noqa: ANN401 - a type
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=None)


def _plain(field: Field, panel: str | None) -> Any:  # noqa: ANN401 - a type
    kind = _TYPES[field.type]
    names = f"{field.option}/--no-{field.word}" if kind is bool else field.option
    metavar = "|".join(field.choices).lower() or None
    return Annotated[kind | None, typer.Option(names, help=field.help, metavar=metavar, rich_help_panel=panel)]
