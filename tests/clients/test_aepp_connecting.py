"""aepp gets its token and is let in."""

import time
from dataclasses import replace

import aepp  # type: ignore[import-untyped] # ships no types
import httpx2
import pytest

from tests.clients.aepp_client import Aepp, Served, configure


def test_a_token_is_fetched_with_the_configured_secret(aepp: Aepp) -> None:
    connector = aepp.flows.connector
    assert connector.header["Authorization"] == f"Bearer {connector.token}"
    # The client takes a token for spent 500 seconds before it is.
    assert connector.config["date_limit"] - time.time() > 23 * 3600
    assert aepp.flows.getConnectionSpecs()


def test_a_connect_object_with_its_lower_case_scheme_is_let_in(served: Served) -> None:
    connected = configure(served, connectInstance=True)
    connected.connect()
    header = connected.getConfigHeader()
    assert header["Authorization"].startswith("bearer ")
    url = f"{served.origin}{aepp.config.endpoints['flow']}/flows"
    assert httpx2.get(url, headers=header).json()["_links"] == {}
    assert connected.getData(url)["_links"] == {}


def test_a_wrong_secret_gets_no_token(served: Served) -> None:
    configure(served)
    config = {**aepp.config.config_object, "secret": "wrong"}
    with pytest.raises(KeyError):
        aepp.flowservice.FlowService(config=config)


def test_users_and_services_send_the_id_of_their_sandbox(served: Served) -> None:
    made = served.offtake("client", "create", "aepp service", "--service", "--role", "Administrators")
    service = replace(served, client_id=made["client_id"], client_secret=made["client_secret"])
    # Users were refused (2110) until the revisions of November 2026.
    for caller in (service, served):
        connector = Aepp(caller).flows.connector
        connector.update_sandbox_id("prod")
        answer = connector.getData(f"{served.origin}{aepp.config.endpoints['flow']}/flowSpecs")
        assert "type" not in answer
        assert answer["items"]
