"""The real command, and a flow that has delivered."""

from functools import partial

import pytest

from offtake.cli.main import main
from offtake.deployment.backend import open_backend
from tests.cli.deliveries import Offtake, add
from tests.deployment import Deployment, rows
from tests.local_parsers import LocalParsers


@pytest.fixture
def offtake(deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Offtake:
    """The command, on the deployment's data directory and by its clock: exit code, what it says and complains of."""
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    monkeypatch.setattr("offtake.cli.local.open_backend", partial(open_backend, parsers_of=LocalParsers.of))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--data-dir", str(deployed.backend.settings.data_dir)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 20))


@pytest.fixture
def flow(deployed: Deployment, dataset: str) -> str:
    """A flow that has delivered everything, and two increments."""
    made = deployed.flow(dataset)
    deployed.run_due()
    for first in (20, 27):
        add(deployed, first, 7)
    return made
