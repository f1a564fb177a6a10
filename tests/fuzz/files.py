"""Batches of hostile files: sent, looked at, tried and brought in."""

import json
from random import Random
from typing import Final
from urllib.parse import quote

from tests.fuzz import contents, grammar
from tests.fuzz.grammar import Json, one_in
from tests.fuzz.kinds import Kind
from tests.fuzz.world import CATALOG, EXPORT, IMPORT, Answer, Request, World

_BYTES: Final = (b"content-type", b"application/octet-stream")
_JSON: Final = (b"content-type", b"application/json")
_BATCHES_A_DATASET: Final = 5
_ASKED: Final = ("nrow", "format", "isMultiLineJson", "delimiter", "quote", "escape", "charset", "header", "x")
_UNFORESEEN: Final = "could not be imported; the server's log has the details"


async def csv(world: World, random: Random) -> None:
    """A batch of CSV files."""
    await _batch(world, random, "csv")


async def ndjson(world: World, random: Random) -> None:
    """A batch of files with an object a line."""
    await _batch(world, random, "ndjson")


async def document(world: World, random: Random) -> None:
    """A batch of JSON documents."""
    await _batch(world, random, "json")


async def _batch(world: World, random: Random, kind: str) -> None:
    dataset = await _dataset(world, random)
    said = contents.shape(random, kind)
    body = {"datasetId": dataset, "inputFormat": said, "evolve": not one_in(random, 4)}
    answer = await _send(world, "POST", f"{IMPORT}/batches", (_JSON,), grammar.as_json(random, body))
    if answer.status != 201:
        return
    batch = answer.json()["id"]
    place = f"{IMPORT}/batches/{batch}/datasets/{dataset}"
    for _ in range(random.choice((1, 1, 2))):
        await _file(world, random, place, contents.content(random, kind, said))
    await _send(world, "GET", f"{place}/preview{_asked(random)}")
    await _send(world, "GET", f"{place}/dryRun")
    if one_in(random, 2):
        await _bring_in(world, batch, dataset)
    else:
        await _send(world, "POST", f"{IMPORT}/batches/{batch}?action=ABORT")


async def _dataset(world: World, random: Random) -> str:
    """The dataset that batches come into; a new one after some: columns of all of them come together in it."""
    made = world.made.setdefault("filled", [])
    if not made or one_in(random, _BATCHES_A_DATASET):
        evolves: Json = {} if one_in(random, 3) else {"offtake": {"evolves": True}}
        body = {"name": f"filled {world.calls}", "extensions": evolves}
        answer = await _send(world, "POST", f"{CATALOG}/dataSets", (_JSON,), json.dumps(body).encode())
        made.append(answer.json()[0].rpartition("/")[2])
    return made[-1]


async def _file(world: World, random: Random, place: str, content: bytes) -> None:
    name = "a" if not one_in(random, 8) else grammar.text(random)
    if one_in(random, 6):
        name, content = f"{name}.gz", contents.packed(random, content)
    path = f"{place}/files/{quote(name.encode('utf-8', 'surrogatepass'), safe='')}"[:1500]
    if one_in(random, 8):
        await _in_parts(world, random, path, content)
    else:
        await _send(world, "PUT", path, (_BYTES,), content)


async def _in_parts(world: World, random: Random, path: str, content: bytes) -> None:
    """The file in parts, whose ranges are not always the right ones."""
    await _send(world, "POST", f"{path}?action=INITIALIZE")
    middle = random.randrange(len(content) + 1)
    total = random.choice((*[str(len(content))] * 8, "*", "0", "x"))
    for first, last in ((0, middle), (middle, len(content))):
        said = f"bytes {first}-{last - 1}/{total}" if not one_in(random, 15) else grammar.text(random)
        ranged = (b"content-range", grammar.header(said))
        await _send(world, "PATCH", path, (_BYTES, ranged), content[first:last])
    await _send(world, "HEAD", path)
    await _send(world, "POST", f"{path}?action=COMPLETE")


def _asked(random: Random) -> str:
    """How a preview is asked to read otherwise."""
    if one_in(random, 2):
        return ""
    names = random.choices(_ASKED, k=random.randrange(1, 3))
    said = {**contents.shape(random, random.choice(("csv", "json"))), "nrow": grammar.number(random)}
    return "?" + grammar.query(random, [(name, str(said.get(name, grammar.text(random)))) for name in names])


async def _bring_in(world: World, batch: str, dataset: str) -> None:
    """The batch comes in or says why not; and what came in can be read."""
    answer = await _send(world, "POST", f"{IMPORT}/batches/{batch}?action=COMPLETE")
    if answer.status != 200:
        return
    world.deployed.ingest_due()
    found = (await _send(world, "GET", f"{CATALOG}/batches/{batch}")).json()[batch]
    ended = found["status"] in ("success", "failed") and _UNFORESEEN not in str(found.get("errors"))
    assert ended, f"a batch ended so: {found}{world.history()}"
    world.tally[world.kind, found["status"]] += 1
    await _send(world, "GET", f"{EXPORT}/datasets/{dataset}/preview")


async def _send(
    world: World, method: str, target: str, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b""
) -> Answer:
    return await world.call(Request(method, target, headers, body))


KINDS: Final[dict[Kind, int]] = {csv: 40, ndjson: 40, document: 20}
"""How many of a hundred batches are of each kind."""
