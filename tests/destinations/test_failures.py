"""How each destination's failures are reported: terminal or transient, with code, reason and remedy, and no secret."""

import logging
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from offtake.destinations.base import Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError
from offtake.network.egress import Network
from tests.azure_servers import azurite
from tests.destinations.cases import Case, amazon_s3, azure_blob, landing_zone
from tests.destinations.test_contract import chunks
from tests.servers import free_port, rclone_s3

pytestmark = pytest.mark.matrix(one_in=3)

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
THROTTLED = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def refused(sink: Sink, case: Case, size: int = 1) -> DeliveryError:
    """Why a put fails. Whatever it says, no secret is in it."""
    with pytest.raises(DeliveryError) as caught:
        sink.put("out/file.json", chunks(size))
    return check_error(caught.value, case)


def check_error(error: DeliveryError, case: Case) -> DeliveryError:
    text = f"{error!s}{error!r}{error.__cause__!r}{error.__context__!r}{error.remedy}"
    for secret in secrets_of(case):
        assert secret not in text
    assert error.message
    assert error.remedy
    return error


def error_of(act: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        act()
    return caught.value


def secrets_of(case: Case) -> Iterator[str]:
    shown = ("endpointUrl", "url", "authorityUrl", "tenant", "servicePrincipalId", "s3AccessKey", "accessKeyId")
    for key, value in case.auth.items():
        if key == "connectionString":
            parts = [part.partition("=")[2] for part in value.split(";") if part.startswith(("AccountKey", "Shared"))]
            yield from (one for part in parts for one in (part, part.partition("sig=")[2]) if one)
        elif isinstance(value, str) and key not in (*shown, "domain", "username", "hostKeyFingerprint"):
            yield value


@pytest.mark.needs("wrong credentials")
def test_wrong_credentials_are_terminal(case: Case) -> None:
    assert case.wrong
    for wrong in case.wrong:
        changed = case.having(auth=wrong)
        with pytest.raises(DeliveryError) as caught:
            changed.open().put("out/file.json", [b"x"])
        error = check_error(caught.value, changed)
        assert (error.code, error.transient) == ("EXPORT-2001-401", False), wrong
    assert case.names() == []


@pytest.mark.needs("missing root")
def test_a_missing_bucket_is_terminal_and_named(case: Case) -> None:
    for act in (lambda sink: sink.put("out/file.json", [b"x"]), lambda sink: list(sink.list(""))):
        with pytest.raises(DeliveryError) as caught:
            act(case.having(**case.missing).open())
        error = check_error(caught.value, case)
        assert (error.code, error.transient) == ("EXPORT-2002-404", False)
        assert "not-there" in error.message


@pytest.mark.needs("network")
def test_a_server_that_is_not_there_is_transient_and_named(case: Case) -> None:
    port = free_port()
    changed = case.having(auth=case.through(port))
    with pytest.raises(DeliveryError) as caught:
        changed.open().put("out/file.json", [b"x"])
    error = check_error(caught.value, changed)
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)
    assert str(port) in error.message


@pytest.mark.needs("unseen writing")
@pytest.mark.needs("network")
@pytest.mark.parametrize("after", [0, PART_BYTES // 2, PART_BYTES + 1, 2 * PART_BYTES + PART_BYTES // 2])
def test_a_connection_that_is_cut_is_transient_and_leaves_nothing_to_see(case: Case, after: int) -> None:
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.cut_after = box.passed + after
        error = refused(sink, case, 3 * PART_BYTES)
        assert (error.code, error.transient) == ("EXPORT-2003-504", True)
        assert case.open().size("out/file.json") is None
        assert list(case.open().list("")) == []
        box.cut_after = None
        again = through.open()
        assert again.put("out/file.json", chunks(3 * PART_BYTES)) == 3 * PART_BYTES
    assert b"".join(case.open().read("out/file.json")) == b"".join(chunks(3 * PART_BYTES))


@pytest.mark.needs("network")
def test_a_slow_peer_is_waited_for(case: Case) -> None:
    with case.behind_a_middlebox() as (through, box):
        box.bytes_per_second = 6 * 1024 * 1024
        assert through.open().put("out/file.json", chunks(PART_BYTES + 1)) == PART_BYTES + 1
    assert case.open().size("out/file.json") == PART_BYTES + 1


@pytest.mark.needs("unseen writing")
@pytest.mark.needs("network")
def test_a_peer_that_stops_answering_times_out(case: Case) -> None:
    patient = replace(
        case,
        sandbox_location=replace(
            case.sandbox_location, network=replace(case.sandbox_location.network, read_timeout=0.5)
        ),
    )
    with patient.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.stall_after = box.passed + PART_BYTES // 2
        error = refused(sink, case, 2 * PART_BYTES)
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)
    assert case.open().size("out/file.json") is None


@pytest.mark.needs("http")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_asks_for_a_pause_gets_one(case: Case, status: int) -> None:
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(status, times=2, headers="Retry-After: 1\r\n", body=THROTTLED)
        assert sink.put("out/file.json", [b"x"]) == 1
    assert case.names() == ["out/file.json"]


@pytest.mark.needs("http")
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_keeps_asking_for_a_pause_is_given_as_long_as_it_asks_for(
    case: Case, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(status, times=1000, headers="Retry-After: 77\r\n", body=THROTTLED)
        error = refused(sink, case)
        assert check_error(error_of(lambda: list(sink.list("out"))), case).retry_after == 77
        assert check_error(error_of(lambda: sink.delete("out/file.json")), case).retry_after == 77
    assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, 77)
    for secret in (*secrets_of(case), "Signature=", "sig="):
        assert secret not in caplog.text
    assert "SlowDown" in error.message
    assert str(status) in error.message


@pytest.mark.needs("http")
def test_a_server_that_asks_for_no_pause_or_is_there_again_is_waited_for_as_usual(case: Case) -> None:
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(503, times=1000, body=THROTTLED)
        assert refused(sink, case).retry_after is None
        box.refusals[:] = box.refusals[:1]
        # A list is asked for once and tried again four times; the sixth answer is the server's own.
        box.refuse(503, times=4, headers="Retry-After: 77\r\n", body=THROTTLED)
        error = error_of(lambda: list(sink.list("out")))
        assert (error.transient, error.retry_after) == (True, None)


@pytest.mark.needs("http")
def test_a_server_that_finds_a_request_wrong_is_terminal(case: Case) -> None:
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(400, times=1000, body="<Error><Code>InvalidStorageClass</Code></Error>")
        error = refused(sink, case)
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)
    assert "InvalidStorageClass" in error.message


@pytest.mark.needs("http")
def test_temporary_credentials_that_have_expired_are_transient(case: Case) -> None:
    with case.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(400, times=1, body="<Error><Code>ExpiredToken</Code></Error>")
        error = refused(sink, case)
        assert (error.code, error.transient) == ("EXPORT-2001-401", True)
        assert through.open().put("out/file.json", [b"x"]) == 1


@pytest.mark.needs("network")
@pytest.mark.needs("a user's host")
def test_addresses_that_may_not_be_reached_are_not(case: Case) -> None:
    guarded = replace(case.sandbox_location.network, multi_user=True)
    with pytest.raises(DeliveryError) as caught:
        replace(case, sandbox_location=replace(case.sandbox_location, network=guarded)).open().put(
            "out/file.json", [b"x"]
        )
    error = check_error(caught.value, case)
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)
    assert "OFFTAKE_EGRESS_ALLOW" in error.remedy
    assert case.names() == []


@pytest.mark.needs("network")
def test_addresses_that_are_allowed_are_reached_where_others_are_not(case: Case) -> None:
    allowed = Network(multi_user=True, allow=LOOPBACK, certificates=case.sandbox_location.network.certificates)
    sink = replace(case, sandbox_location=replace(case.sandbox_location, network=allowed)).open()
    assert sink.put("out/file.json", chunks(PART_BYTES + 1)) == PART_BYTES + 1
    assert b"".join(sink.read("out/file.json")) == b"".join(chunks(PART_BYTES + 1))
    assert [one.key for one in sink.list("out")] == ["out/file.json"]
    sink.delete("out/file.json")
    assert case.names() == []


def test_a_store_whose_disk_is_full_is_transient_and_leaves_nothing_to_see(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with rclone_s3(tmp_path / "small", small=True) as s3, azurite(small=True) as azure:
        for case in (amazon_s3(s3, tmp_path), azure_blob(azure, tmp_path)):
            case.open().put("out/before.json", [b"x"])
            error = refused(case.open(), case, 3 * PART_BYTES)
            assert (error.code, error.transient) == ("EXPORT-2003-504", True)
            assert [one.key for one in case.open().list("")] == ["out/before.json"]


# What only a folder of this machine does


def test_a_folder_that_may_not_be_written_is_terminal(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("a file where the folder should be")
    case = landing_zone(tmp_path)
    error = refused(case.open(), case)
    assert (error.code, error.transient) == ("EXPORT-2002-404", False)


def test_a_link_that_leads_out_of_the_zone_is_refused(tmp_path: Path) -> None:
    zone = tmp_path / "zone" / "prod"
    zone.mkdir(parents=True)
    (zone / "out").symlink_to(tmp_path)
    case = landing_zone(tmp_path)
    assert refused(case.open(), case).code == "EXPORT-2001-403"
    assert not (tmp_path / "file.json").exists()


def test_a_full_disk_is_transient_and_leaves_nothing(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    case = landing_zone(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(DeliveryError) as caught:
            case.open().put("out/file.json", [os.urandom(65_536)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
    assert case.names() == []


def test_leftovers_of_a_killed_write_are_not_listed_and_are_removed(tmp_path: Path) -> None:
    case = landing_zone(tmp_path)
    folder = tmp_path / "zone" / "prod" / "out"
    folder.mkdir(parents=True)
    for name in (".file.json.tmp", ".file.json.0123abcd.tmp", ".file.json.abc.0123abcd.tmp", ".file.json.0123.tmp"):
        (folder / name).write_bytes(b"half a fi")
    sink = case.open()
    assert list(sink.list("")) == []
    assert sink.clear(["out/file.json", "out/none.json", "elsewhere/file.json"]) == 2
    sink.put("out/file.json", [b"whole"])
    assert case.names() == ["out/.file.json.0123.tmp", "out/.file.json.abc.0123abcd.tmp", "out/file.json"]


def test_deleting_removes_the_folders_that_are_empty_then(tmp_path: Path) -> None:
    sink = landing_zone(tmp_path).open()
    sink.put("out/deep/er/file.json", [b"x"])
    sink.delete("out/deep/er/file.json")
    assert list((tmp_path / "zone" / "prod").iterdir()) == []
