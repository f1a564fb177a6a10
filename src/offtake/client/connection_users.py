"""What uses a connection: its target connections, and the flows that deliver there."""

from offtake.client.names import FLOW, TARGET
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.documents import Json


def targets_of(server: Server, connection_id: str) -> list[Json]:
    """The target connections of a base connection."""
    return list(server.get_all(TARGET.path, (("property", f"baseConnectionId=={connection_id}"),)))


def flows_of(server: Server, connection_id: str) -> list[Json]:
    """The flows that deliver through a base connection."""
    query = (("property", f"inheritedAttributes.targetConnections[].baseConnection.id=={connection_id}"),)
    return list(server.get_all(FLOW.path, query))


def delete_if_unused(server: Server, path: str) -> bool:
    """Delete an entity; False when it is still in use. One that is gone already counts as deleted."""
    try:
        server.delete(path)
    except ServerError as error:
        if error.is_not_found:
            return True
        if error.is_in_use:
            return False
        raise
    return True
