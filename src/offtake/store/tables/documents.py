"""The JSON documents whose shape belongs to the store."""

from typing import NotRequired, TypedDict


class SnapshotPin(TypedDict):
    """The snapshots of one dataset that a run must export.

    `full`: all rows of `to_snapshot`; otherwise the rows added since `from_snapshot`. `warning`: why an earlier run
    exported these rows in full, although the flow had delivered before; absent without a reason.
    """

    full: bool
    from_snapshot: int | None
    to_snapshot: int
    warning: NotRequired[str]


Pins = dict[str, SnapshotPin]
"""The pinned snapshots, by dataset id."""


class ManifestRecord(TypedDict):
    """The manifest file of a run: its `key`, size in `bytes`, and SHA-256 in hexadecimal.

    `bytes` and `sha256` are absent in records of versions before revision 0003. `uri` and `token`, as in `RunPart`, are
    present in the recorded intent only, before the file is complete.
    """

    key: str
    bytes: NotRequired[int]
    sha256: NotRequired[str]
    uri: NotRequired[str]
    token: NotRequired[str | None]


class UploadedObjects(TypedDict):
    """The objects of a file that is uploaded to an object store.

    `upload`: changes with each start. `parts`: lists of an object's id, first and last byte, in the order in which they
    were recorded; where they overlap, later ones count.
    """

    upload: str
    parts: list[tuple[str, int, int]]


class BatchError(TypedDict):
    """An error of a batch (contract, section 23.3). `rows`: the numbers of the rows it is about; absent if unknown."""

    code: str
    description: str
    rows: NotRequired[list[str]]


class ReportedWait(TypedDict):
    """The last event about a repeated trouble of a run: its cause and its time, and how often it occurred since then.

    `code`: of the cause. `at`: epoch milliseconds.
    """

    code: str
    at: int
    more: int
