"""Updates of resources beyond Flow Service's own: a JSON object is a merge patch, a list a JSON Patch."""

from offtake.contract import bodies, json_patch, problems
from offtake.contract.bodies import Sent
from offtake.contract.json_patch import Dialect
from offtake.contract.problems import Problem
from offtake.documents import Json


def update(document: Json, sent: Sent, example: str) -> Json:
    """A copy of the document with the changes that were sent. `example`: a JSON pointer into it, for messages.

    Raises 1405 for a body that is neither, 1434 for an unknown operation, 1452 and 1455 for one that does not fit.
    """
    change: object = bodies.parse_json(sent) if isinstance(sent, bytes) else sent
    if isinstance(change, list) and change:
        return json_patch.patch(document, json_patch.parse_operations(change, _dialect(example)))
    if isinstance(change, dict) and change:
        return json_patch.merge(document, change)
    raise Problem(problems.EMPTY_BODY, "The request body must be a non-empty JSON object or JSON Patch.")


def _dialect(example: str) -> Dialect:
    return Dialect(
        ops=("add", "replace", "remove", "test"),
        not_an_object=lambda number: problems.of_field(f"/{number}", "must be an object with op, path and value"),
        unknown_op=lambda number, ops: Problem(problems.PATCH_OP, f"/{number}/op must be one of {ops}."),
        bad_path=lambda number: problems.of_field(f"/{number}/path", f"must be a JSON pointer such as {example}"),
    )
