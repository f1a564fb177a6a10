"""Options that `offtake flow create` and `flow edit` share: datasets, files and place."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from offtake.cli.completing import names_of
from offtake.cli.credentials_given import Given, changed_params, given_options
from offtake.cli.derived_options import Options, options_of
from offtake.cli.schedule_options import ScheduleGiven
from offtake.client import durations
from offtake.client.destinations import Destination, Field, destinations, distinct
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

_FORMATS: Final = {"ndjson": "JSON", "json": "JSON", "parquet": "PARQUET"}
_COMMA: Final = re.compile(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""A comma outside of backticks, which quote names with dots and commas."""
_FOLDERS: Final = ("path", "remotePath")
_OWN: Final = ("datasetFileType", "compression", "includeFileManifest", *_FOLDERS)
"""The params that have options of their own, not derived ones."""

Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", help="A dataset's name or id; repeat it.", autocompletion=names_of("datasets")),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="DATASET:a,b.c",
        help="Deliver only these columns of a dataset; a nested one by its path. Repeat it.",
    ),
]
Path = Annotated[str | None, typer.Option("--path", help="The folder; / for the root.")]
Format = Annotated[str | None, typer.Option("--format", metavar="ndjson|parquet", help="The files' format.")]
Compression = Annotated[
    str | None, typer.Option("--compression", metavar="gzip|none", help="Default: gzip; ndjson is always gzipped.")
]
Manifest = Annotated[
    bool | None, typer.Option("--manifest/--no-manifest", help="Write a manifest as the last file of each run.")
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--folder",
        metavar="TEMPLATE",
        help="Below the path, such as %DATASET_NAME%/%DATETIME(YYYY-MM-dd)%; default: %DATASET_ID%/%EXPORT_TIME%.",
    ),
]
FreshWithin = Annotated[
    str | None,
    typer.Option(
        "--fresh-within",
        metavar="4h|none",
        help="Late when its data is older: minutes, hours or days. Default: a tenth of the interval after a slot.",
    ),
]
Rows = Annotated[int, typer.Option("--rows", min=0, max=100, help="How many rows of each dataset the preview has.")]


def derived_fields() -> Sequence[Field]:
    """The targets' params of all destinations that have derived options."""
    return [one for one in distinct(f for d in destinations() for f in d.target_fields) if one.key not in _OWN]


def target_options() -> Options:
    """The derived options, in the help by their destinations."""
    found: Options = {}
    for field in derived_fields():
        users = [one.name for one in destinations() if one.target_field(field.key)]
        panel = "Files" if len(users) == len(destinations()) else f"{' and '.join(users)}"
        found |= options_of([field], panel)
    return found


def check_fresh_within(text: str | None) -> int | None:
    """The target of the freshness in seconds; None without the option, and for none."""
    try:
        return None if text is None else durations.parse(text)
    except OfftakeError as error:
        raise WrongUsageError(f"--fresh-within: {error}.") from None


def check_format(text: str | None) -> str | None:
    """The contract's name of a format; None for none."""
    if text is not None and text.lower() not in _FORMATS:
        raise WrongUsageError(f"--format {text[:40]}: must be ndjson or parquet.")
    return None if text is None else _FORMATS[text.lower()]


def check_compression(text: str | None) -> str | None:
    """The contract's name of a compression; None for none."""
    if text is not None and text.lower() not in ("gzip", "none"):
        raise WrongUsageError(f"--compression {text[:40]}: must be gzip or none.")
    return None if text is None else text.upper()


def target_params(destination: Destination, plain: Mapping[str, object], given: Given) -> Json:
    """The params that the options set. `plain`: path, format, compression and manifest, checked.

    Raises `WrongUsageError` for options of other destinations.
    """
    known = [one for one in derived_fields() if destination.target_field(one.key)]
    unknown = [one for one in given_options(derived_fields(), given) if one not in [field.option for field in known]]
    if unknown:
        allowed = ", ".join(one.option for one in known)
        raise WrongUsageError(f"{', '.join(unknown)}: not of {destination.name}, which has --path, {allowed}.")
    keys = {
        folder_key(destination): plain["path"],
        "datasetFileType": plain["format"],
        "compression": plain["compression"],
        "includeFileManifest": plain["manifest"],
    }
    return {key: value for key, value in keys.items() if value is not None} | changed_params(known, given)


def check_required(destination: Destination, params: Json) -> None:
    """Raise `WrongUsageError` if options of a new target are missing."""
    words = target_words(destination)
    missing = [words[f"/params/{one.key}"] for one in destination.target_fields if one.required]
    missing = [word for word in missing if word not in [words[f"/params/{key}"] for key in params]]
    if missing:
        raise WrongUsageError(f"{', '.join(missing)}: required for {destination.name}.")


def folder_key(destination: Destination) -> str:
    """The key of the folder in the target's params."""
    return next(one.key for one in destination.target_fields if one.key in _FOLDERS)


def target_words(destination: Destination) -> dict[str, str]:
    """The options by the fields of a target connection."""
    own = {"datasetFileType": "--format", "compression": "--compression", "includeFileManifest": "--manifest"}
    own |= dict.fromkeys(_FOLDERS, "--path")
    return {f"/params/{one.key}": own.get(one.key, one.option) for one in destination.target_fields}


def words(destination: Destination, schedule: ScheduleGiven, name: str) -> dict[str, str]:
    """The options by the fields of all requests that make or change a flow. `name`: the option of the flow's name."""
    repeats = dict.fromkeys(("interval", "timeUnit", "exportMode"), schedule.option)
    fields = repeats | {"startTime": "--start", "endTime": "--end", "foldernameTemplate": "--folder"}
    return (
        target_words(destination)
        | {f"/scheduleParams/{key}": option for key, option in fields.items()}
        | {"/params/datasets": "--dataset", "/params/columns": "--columns", "/name": name}
        | {"/extensions/freshWithinSeconds": "--fresh-within"}
    )


def parse_columns(texts: Sequence[str], chosen: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns by dataset id; none: all. `chosen`: the ids of the flow's datasets by how they were named, and by id.

    With one dataset, its name may be left out. Raises `WrongUsageError`.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        dataset_id, columns = _split(text, chosen)
        if dataset_id in found:
            raise WrongUsageError(f"--columns {text[:60]}: the dataset occurs twice; give all of its columns at once.")
        found[dataset_id] = columns
    return found


def _split(text: str, chosen: Mapping[str, str]) -> tuple[str, list[str]]:
    # Names of datasets may contain colons: the longest that fits wins.
    named = sorted((one for one in chosen if text.startswith(f"{one}:")), key=len, reverse=True)
    if named:
        dataset_id, listed = chosen[named[0]], text.removeprefix(f"{named[0]}:")
    elif ":" not in text and len(set(chosen.values())) == 1:
        dataset_id, listed = next(iter(chosen.values())), text
    else:
        raise WrongUsageError(
            f"--columns {text[:60]}: must be DATASET:a,b.c, with one of the flow's datasets: {', '.join(chosen)}."
        )
    columns = [one.strip() for one in _COMMA.split(listed)] if listed.strip() else []
    if not all(columns) or len(set(columns)) < len(columns):
        raise WrongUsageError(f"--columns {text[:60]}: must name each column once, separated by commas.")
    return dataset_id, columns
