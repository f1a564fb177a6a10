"""A second organisation in a deployment's database, made by hand: nothing offers it yet."""

from uuid import uuid4

from offtake.access import clients
from offtake.access.clients import NewClient
from offtake.store.tables import Organisation, Role, RoleSubject, Sandbox
from tests.deployment import Deployment

OTHER = "00112233445566778899AABB@AdobeOrg"


def second_organisation(deployed: Deployment) -> NewClient:
    """Another organisation with a sandbox of its own that is called `prod` too; its administrator."""
    now = deployed.clock.now_ms() + 1
    made = {"created_at": now, "updated_at": now, "created_by": "test", "updated_by": "test"}
    with deployed.backend.database.writing() as session:
        session.add(Organisation(id=OTHER, name="Other", created_at=now))
        session.flush()
        prod = {"name": "prod", "title": "Theirs", "type": "production", "state": "active", "is_default": True}
        session.add(Sandbox(id=str(uuid4()), org_id=OTHER, revision=1, **prod, **made))
        everything = {"permissions": ["*"], "sandboxes": ["*"], "labels": ["*"]}
        role = Role(id=str(uuid4()), org_id=OTHER, name="Theirs", description="", **everything, **made)
        client, secret = clients.new_client(session, OTHER, "theirs", "user", now)
        session.add(role)
        session.flush()
        session.add(RoleSubject(role_id=role.id, client_id=client.id))
        return NewClient(OTHER, client.id, secret, "prod")
