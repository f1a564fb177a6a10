"""The caller of a request: its permissions, labels and sandbox; and the names of all permissions."""

from dataclasses import dataclass
from typing import Final, Literal

from offtake.contract import problems
from offtake.contract.problems import Problem

VIEW_DESTINATIONS: Final = "view-destinations"
MANAGE_DESTINATIONS: Final = "manage-destinations"
EXPORT_DATASETS: Final = "manage-and-activate-dataset-destinations"
VIEW_DATASETS: Final = "view-datasets"
MANAGE_DATASETS: Final = "manage-datasets"
MANAGE_CATALOGS: Final = "manage-catalogs"
VIEW_SANDBOXES: Final = "view-sandboxes"
MANAGE_SANDBOXES: Final = "manage-sandboxes"
RESET_SANDBOXES: Final = "reset-sandboxes"
VIEW_AUDIT: Final = "view-audit-log"
MANAGE_ACCESS: Final = "manage-access"
PERMISSIONS: Final = (
    VIEW_DESTINATIONS,
    MANAGE_DESTINATIONS,
    EXPORT_DATASETS,
    VIEW_DATASETS,
    MANAGE_DATASETS,
    MANAGE_CATALOGS,
    VIEW_SANDBOXES,
    MANAGE_SANDBOXES,
    RESET_SANDBOXES,
    VIEW_AUDIT,
    MANAGE_ACCESS,
)
ALL: Final = "*"
"""In a role: every permission, every sandbox, every label."""
Kind = Literal["user", "service"]
OPERATOR: Final = "offtake-cli"
ENGINE: Final = "export-engine"
"""The client id under which Offtake itself creates runs and disables failing flows."""


@dataclass
class PermissionMissingError(Problem):
    """Error 2120: the caller has none of these permissions. `sandbox`: where they are missing; empty: everywhere."""

    permissions: tuple[str, ...] = ()
    sandbox: str = ""


@dataclass(frozen=True)
class Grants:
    """Granted permissions and labels in one sandbox; `everywhere`: permissions granted in all sandboxes."""

    permissions: frozenset[str]
    everywhere: frozenset[str]
    labels: frozenset[str]

    def allow(self, *alternatives: str) -> bool:
        """Whether one of the permissions is granted."""
        return bool(self.permissions.intersection((ALL, *alternatives)))

    def allow_everywhere(self, *alternatives: str) -> bool:
        """Whether one of the permissions is granted in every sandbox."""
        return bool(self.everywhere.intersection((ALL, *alternatives)))


@dataclass(frozen=True)
class Caller:
    """The authenticated caller of a request, and the sandbox that everything in the request is limited to.

    Requests about the organisation itself have no sandbox: its id and name are empty, and only permissions granted in
    all sandboxes count.
    """

    org_id: str
    sandbox_id: str
    sandbox_name: str
    client_id: str
    account_id: str
    kind: Kind
    grants: Grants
    remote: str = ""
    request_id: str = ""

    def require(self, *alternatives: str) -> None:
        """Raise 2120 unless the caller has one of the permissions in this sandbox."""
        if not self.grants.allow(*alternatives):
            message = f"The operation needs the permission {' or '.join(alternatives)} in sandbox {self.sandbox_name}."
            raise PermissionMissingError(
                problems.FORBIDDEN, message, permissions=alternatives, sandbox=self.sandbox_name
            )

    def require_everywhere(self, *alternatives: str) -> None:
        """Raise 2120 unless the caller has one of the permissions in every sandbox."""
        if not self.grants.allow_everywhere(*alternatives):
            message = f"The operation needs the permission {' or '.join(alternatives)} in all sandboxes."
            raise PermissionMissingError(problems.FORBIDDEN, message, permissions=alternatives)
