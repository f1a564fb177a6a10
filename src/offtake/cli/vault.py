"""The commands `offtake vault …`."""

from typing import Annotated

import typer

from offtake.access import tokens, web_sessions
from offtake.cli import output
from offtake.cli.local import operating
from offtake.cli.options import AsJson, DataDir
from offtake.deployment.backend import rotate_vault


def rotate(
    end_tokens: Annotated[
        bool,
        typer.Option(
            "--end-tokens",
            help="Also end all access tokens and sessions of the pages: their keys may be known to others.",
        ),
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Re-encrypt all stored secrets with a new key; the server may be running.

    If OFFTAKE_VAULT_KEY is set, first set it to the new key and add the old key to OFFTAKE_VAULT_OLD_KEYS.
    """
    with operating(data_dir) as (backend, _):
        if end_tokens:
            with backend.database.writing() as session:
                tokens.end_all(session)
                web_sessions.end_all(session)
        moved = rotate_vault(backend)
    if json:
        output.as_json({"moved": moved})
        return
    output.console.print(f"{moved} stored secrets are encrypted with the newest key now.")
