"""Prints `/metrics` of a new deployment: `python -m tests.deploy.metrics_page`."""

import asyncio
import sys
import tempfile
from pathlib import Path

from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.metrics.page import MetricsPage
from offtake.settings import Settings

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        backend = open_backend(Settings(data_dir=Path(folder)), Clock())
        backend.readiness.start()
        page = MetricsPage(backend)
        sys.stdout.write(asyncio.run(page.render()).decode())
        page.close()
        backend.close()
