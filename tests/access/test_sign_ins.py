"""Sign-ins: wrong secrets are limited by client and address, right ones are not, and what is known is not hashed."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from offtake.access import clients
from offtake.access import sign_ins as subject
from offtake.access.sign_in_limits import SignInLimits
from offtake.access.sign_ins import SignInRefusedError, SignIns
from offtake.access.tokens import BadCredentialsError
from offtake.store.tables import Client
from tests.deployment import Deployment

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def sign_ins() -> Iterator[SignIns]:
    opened = SignIns(3, hold=0)
    yield opened
    opened.close()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets that were hashed."""
    found: list[str] = []

    def matches(stored: str, secret: str, real: Callable[[str, str], bool] = clients.secret_matches) -> bool:
        found.append(secret)
        return real(stored, secret)

    monkeypatch.setattr(clients, "secret_matches", matches)
    return found


def outcomes(sign_ins: SignIns, deployed: Deployment, *given: tuple[str, str], client_id: str = "") -> list[Any]:
    """What comes of these secrets from these addresses, all at once: a client's id, a status, or `wrong`."""

    async def one(secret: str, address: str) -> Any:
        try:
            found = await sign_ins.check(
                deployed.backend.database, client_id or deployed.admin.client_id, secret, address
            )
        except BadCredentialsError:
            return "wrong"
        except SignInRefusedError as refused:
            return refused.status if refused.retry_after > 0 else "at once"
        return found.id

    async def all_of() -> list[Any]:
        return await asyncio.gather(*(one(*each) for each in given))

    return asyncio.run(all_of())


def test_a_right_secret_is_hashed_once_however_often_it_comes(
    sign_ins: SignIns, deployed: Deployment, hashed: list[str]
) -> None:
    right = deployed.admin.client_secret
    assert outcomes(sign_ins, deployed, *[(right, HERE)] * 30) == [deployed.admin.client_id] * 30
    assert outcomes(sign_ins, deployed, (right, THERE)) == [deployed.admin.client_id]
    assert hashed == [right]


def test_too_many_wrong_secrets_are_refused_at_that_address_alone(
    sign_ins: SignIns, deployed: Deployment, hashed: list[str]
) -> None:
    tried = [(f"wrong {n}", HERE) for n in range(6)]
    assert sorted(map(str, outcomes(sign_ins, deployed, *tried))) == ["429"] * 3 + ["wrong"] * 3
    assert len(hashed) == 3
    right = deployed.admin.client_secret
    assert outcomes(sign_ins, deployed, (right, HERE)) == [429]
    assert outcomes(sign_ins, deployed, (right, THERE)) == [deployed.admin.client_id]
    # Known to be right by now, it is let in at the flooded address too.
    assert outcomes(sign_ins, deployed, (right, HERE)) == [deployed.admin.client_id]


def test_a_secret_that_is_known_to_be_wrong_is_not_hashed_and_not_counted(
    sign_ins: SignIns, deployed: Deployment, hashed: list[str]
) -> None:
    for _ in range(10):
        assert outcomes(sign_ins, deployed, ("old", HERE)) == ["wrong"]
    assert hashed == ["old"]
    assert outcomes(sign_ins, deployed, (deployed.admin.client_secret, HERE)) == [deployed.admin.client_id]


def test_what_is_known_ends_with_a_rotation_and_with_the_client(
    deployed: Deployment, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_WRONG_SECONDS", 0.0)
    sign_ins = SignIns(3, hold=0)
    database, before = deployed.backend.database, deployed.admin.client_secret
    assert outcomes(sign_ins, deployed, (before, HERE), ("new", HERE)) == [deployed.admin.client_id, "wrong"]
    with database.writing() as session:
        session.get_one(Client, deployed.admin.client_id).secret_hash = clients.hash_secret("new")
    assert outcomes(sign_ins, deployed, (before, HERE), ("new", HERE)) == ["wrong", deployed.admin.client_id]
    with database.writing() as session:
        session.get_one(Client, deployed.admin.client_id).revoked_at = 1
    assert outcomes(sign_ins, deployed, ("new", HERE)) == ["wrong"]
    assert len(hashed) == 5
    sign_ins.close()


def test_an_unknown_client_costs_the_same_hash(sign_ins: SignIns, deployed: Deployment, hashed: list[str]) -> None:
    assert outcomes(sign_ins, deployed, ("x", HERE), client_id="unknown") == ["wrong"]
    assert outcomes(sign_ins, deployed, ("x", HERE), client_id="unknown") == ["wrong"]
    assert hashed == ["x"]


def test_only_so_many_wait_to_be_hashed(
    sign_ins: SignIns, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_stored: str, _secret: str) -> bool:
        time.sleep(0.05)
        return False

    monkeypatch.setattr(clients, "secret_matches", slow)
    monkeypatch.setattr(subject, "_MOST_WAITING_OF_ONE", 2)
    assert sorted(map(str, outcomes(sign_ins, deployed, *[(f"{n}", HERE) for n in range(3)]))) == [
        "503",
        "wrong",
        "wrong",
    ]


def test_limits_grow_back_over_a_minute_and_hold_for_all_ids_of_an_address() -> None:
    now = 0.0
    limits = SignInLimits(10, lambda: now)
    assert [limits.take("a", HERE) for _ in range(10)] == [0.0] * 10
    assert limits.take("a", HERE) == pytest.approx(6)
    now = 6.0
    assert limits.take("a", HERE) == 0
    assert limits.take("a", HERE) == pytest.approx(6)
    limits.give_back("a", HERE)
    assert limits.take("a", HERE) == 0
    taken = [limits.take(f"id {n}", HERE) for n in range(100)]
    assert sum(not wait for wait in taken) == 60 + 6 - 11
    assert limits.take("a", THERE) == 0


def test_the_limits_of_many_addresses_take_bounded_memory() -> None:
    limits = SignInLimits(10, lambda: 0.0)
    for n in range(12_000):
        limits.take("a", str(n))
    assert len(limits._buckets) <= 10_000  # noqa: SLF001 - what is bounded is not seen from outside


def test_the_token_call_says_when_to_try_again(deployed: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    form = {"grant_type": "client_credentials", "client_id": "x"}
    answers = [deployed.http.post("/ims/token/v3", data={**form, "client_secret": str(n)}) for n in range(11)]
    assert [one.status_code for one in answers] == [400] * 10 + [429]
    assert answers[-1].json()["error"] == "temporarily_unavailable"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 6
    assert caplog.messages[-1].endswith("refused: Too many sign-ins with a wrong secret. Retry later.")


def test_a_form_that_is_too_large_is_refused(deployed: Deployment) -> None:
    answer = deployed.http.post("/ims/token/v3", data={"grant_type": "x" * 20_000})
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
