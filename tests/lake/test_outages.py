"""What of failing to read the lake passes, and for how long it is waited for."""

import errno
import os
import pickle

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from offtake.errors import SOURCE_UNAVAILABLE, DeliveryError
from offtake.lake import metadata_errors
from offtake.lake.parquet_files import unreadable

AWAY = [
    # As Arrow tells them, with its own stores against servers that were not there, said nothing or were overloaded.
    (
        "When reading information for key 'a' in bucket 'b': AWS Error NETWORK_CONNECTION during HeadObject operation: "
        "curlCode: 7, Could not connect to server; Details: Failed to connect to 127.0.0.1:1"
    ),
    (
        "When reading information for key 'a' in bucket 'b': AWS Error NETWORK_CONNECTION during HeadObject operation: "
        "curlCode: 28, Timeout was reached"
    ),
    "When reading from key 'a': AWS Error SLOW_DOWN during GetObject operation: Please reduce your request rate.",
    "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
    "google::cloud::Status(UNAVAILABLE: Permanent error in GetObjectMetadata: PerformWork())",
    "GetProperties failed for 'https://x'. Azure Error: [ServerBusy] 503 The server is busy.",
]
PRESENT = [
    "When reading information for key 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation: No body.",
    "AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body.",
    "Couldn't deserialize thrift: TProtocolException: Invalid data",
    "Page header 503 is damaged",
    "google::cloud::Status(PERMISSION_DENIED: no)",
]


@pytest.mark.parametrize("text", AWAY)
def test_stores_that_are_away_or_overloaded_are_waited_for(text: str) -> None:
    error = unreadable("s3://b/a", OSError(text))
    assert (error.code, error.transient, error.window) == (SOURCE_UNAVAILABLE.code, True, None)
    with pytest.raises(DeliveryError) as caught, metadata_errors.explain("ns.table"):
        raise OSError(text)
    assert (caught.value.code, caught.value.transient) == (SOURCE_UNAVAILABLE.code, True)


@pytest.mark.parametrize("text", PRESENT)
def test_stores_that_answer_are_taken_at_their_word(text: str) -> None:
    error = unreadable("s3://b/a", OSError(text))
    assert (error.code, error.transient) == ("EXPORT-1500-500", False)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTUNREACH])
def test_network_disks_that_are_away_are_waited_for(number: int) -> None:
    assert unreadable("/mnt/a", OSError(number, os.strerror(number))).transient


def test_a_file_that_is_not_there_is_waited_for_for_two_minutes() -> None:
    gone = unreadable("/lake/a", FileNotFoundError(errno.ENOENT, "No such file"))
    with pytest.raises(DeliveryError) as caught, metadata_errors.explain("ns.table"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "v1.metadata.json")
    for error in (gone, caught.value):
        crossed = pickle.loads(pickle.dumps(error))  # noqa: S301 - as it crosses a process boundary
        assert (crossed.code, crossed.transient, crossed.window) == ("EXPORT-1410-410", True, 120)


class RefusedError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("state", [None, "08006", "53300", "57P01"])
def test_a_catalog_that_is_away_is_waited_for(state: str | None) -> None:
    with pytest.raises(DeliveryError) as caught, metadata_errors.explain("ns.table"):
        raise OperationalError("SELECT 'MARKED'", {}, RefusedError(state))
    assert (caught.value.code, caught.value.transient) == (SOURCE_UNAVAILABLE.code, True)
    assert "MARKED" not in str(caught.value)


def test_what_a_catalog_refuses_is_not() -> None:
    with pytest.raises(OperationalError), metadata_errors.explain("ns.table"):
        raise OperationalError("SELECT 1", {}, RefusedError("28P01"))
    with pytest.raises(ProgrammingError), metadata_errors.explain("ns.table"):
        raise ProgrammingError("SELECT 1", {}, RefusedError("42P01"))
