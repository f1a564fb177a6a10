"""The Data Landing Zone: a folder, a container or a bucket prefix of this deployment for each sandbox."""

from typing import Annotated, Final

from pydantic import Field

from offtake.destinations import patterns
from offtake.destinations.base import Destination, SandboxLocation, SetupGuide, Sink
from offtake.destinations.parameters import Params, TargetParams, as_folder

# Identity

NAME: Final = "Data Landing Zone"

# Parameters


class LandingZoneParams(TargetParams):
    """A folder of the zone."""

    path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path",
        description="Folder in the landing zone of the sandbox. It is created with the first file.",
        examples=["exports/crm"],
    )

    def folder(self) -> str:
        """The folder in the zone."""
        return as_folder(self.path)


# Opening


def open_sink(_credentials: Params | None, _params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the sandbox's zone, which is created when it is missing."""
    zone = sandbox_location.zone("dlz_destination")
    zone.create()
    return zone.open()


# Documentation

GUIDE: Final = SetupGuide(
    summary="Storage of this deployment, separate for each sandbox; consumers download the files.",
    needs="Nothing. Consumers download the files with credentials, from its page here or from the API.",
    about="Storage of this deployment, separate for each sandbox: delivering to it needs no credentials. "
    "Consumers download files, and delete them afterwards, with credentials from "
    "`GET /data/foundation/connectors/landingzone/credentials`.",
    rights="No permissions are needed. The operator sets the location with `OFFTAKE_LANDING_ZONE`: "
    "[a folder, an Azure account, or an S3 bucket](../landing-zone.md).",
    limits=("Files are removed after seven days, or after `OFFTAKE_LANDING_ZONE_RETENTION_DAYS`.",),
)

DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="10440537-2a7b-4583-ac39-ed38d4b848e8",
    flow_spec_id="cd2fc47e-e838-4f38-a581-8fff2f99b63a",
    flow_spec_name="DatasetsToDataLandingZone",
    auth_methods=(),
    parameters=LandingZoneParams,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    open=open_sink,
)
