"""The command `offtake init`."""

from offtake.cli import output
from offtake.cli.local import has_deployment, opened_or_made, settings_at
from offtake.cli.options import AsJson, DataDir


def init(data_dir: DataDir = None, json: AsJson = False) -> None:
    """Create a deployment without starting a server: its folders, databases and keys; no-op if there is one.

    It also migrates the tables of an earlier version of Offtake. `offtake serve` does the same at its start.
    """
    settings = settings_at(data_dir)
    created = not has_deployment(settings)
    with opened_or_made(settings, upgrade=True):
        pass
    if json:
        output.as_json({"dataDir": str(settings.data_dir), "created": created})
        return
    done = "is created" if created else "exists already"
    output.line(f"the deployment in {settings.data_dir} {done}; start its server: offtake serve")
