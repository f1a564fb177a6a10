"""The commands `offtake vault …`."""

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, operating
from offtake.deployment.backend import rotate_vault


def rotate(data_dir: DataDir = None, json: AsJson = False) -> None:
    """Put every stored secret under a new key, beside a running server.

    With OFFTAKE_VAULT_KEY set, put the new key there and the one before into OFFTAKE_VAULT_OLD_KEYS first.
    """
    with operating(data_dir) as (backend, _):
        moved = rotate_vault(backend)
    if json:
        output.as_json({"moved": moved})
        return
    output.console.print(f"{moved} stored secrets are under the newest key now.")
