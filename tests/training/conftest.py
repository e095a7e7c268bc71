"""Runs of several real processes on this host, over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


class Pod:
    """Starts `tests.training.pod` on a store."""

    def __init__(self, store: Path):
        self.store = store

    def command(self, folder: Path, *flags: str, **changes) -> list[str]:
        """The command of one process; changes are fields of the config, with __ for the dots."""
        changed = json.dumps({name.replace("__", "."): value for name, value in changes.items()})
        told = [f"--store={self.store}", f"--folder={folder}", f"--changes={changed}"]
        return [sys.executable, "-m", "tests.training.pod", *told, *flags]

    def environ(self, devices: int = 1) -> dict[str, str]:
        """The environment of a process with so many devices."""
        return {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONUNBUFFERED": "1"}

    def run(
        self, processes: int, devices: int, folder: Path, *flags: str, **changes
    ) -> subprocess.CompletedProcess[str]:
        """A run to its end, as users start one."""
        hosts = ["bash", "launch/hosts.sh", "-n", str(processes), "-g", "5", "--"]
        return subprocess.run(
            [*hosts, *self.command(folder, *flags, **changes)],
            cwd=REPOSITORY,
            env=self.environ(devices),
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture(scope="session")
def pod(demo_store) -> Pod:
    """Of the demo store."""
    return Pod(demo_store)


def steps_of(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl that are of training steps."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "split" not in line]
