"""SIGKILL at random moments of a run, writing checkpoints included.

The long form, with its table:

    python -m pytest -m slow -n0 -s tests/training/test_kills.py
"""

import re
import subprocess
import time

import numpy as np
import pytest

from kmerl_jax.training import checkpoints
from tests.training.conftest import REPOSITORY, steps_of

MOMENTS = ("start", "step", "writing", "unsealed")


def start(pod, folder, changes, output):
    return subprocess.Popen(
        pod.command(folder, **changes), cwd=REPOSITORY, env=pod.environ(), stdout=output, stderr=subprocess.STDOUT
    )


def reached(moment, folder, wait, began):
    """Whether it is time to kill: at a time, at a number of lines of metrics, or at a state of a checkpoint.

    What a kill before has left of a checkpoint does not count: it is gone when this start writes its metrics.
    """
    metrics = folder / "metrics.jsonl"
    trains = metrics.exists() and metrics.stat().st_mtime > began
    written = [path for path in (folder / "checkpoints").glob("*") if trains]
    if moment == "start":
        return time.monotonic() > wait
    if moment == "step":
        return (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text().splitlines()) >= wait
    if moment == "writing":
        return any("tmp" in path.name for path in written)
    return any(path.name.isdecimal() and not (path / "digests.json").exists() for path in written)


def lines_in(folder):
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def kill_again_and_again(pod, folder, kills, changes, rng):
    """Starts a run, and kills it so many times; returns what happened, and the output of the last start."""
    rows = []
    log = folder.with_suffix(".log")
    for number in range(1, kills + 1):
        moment = MOMENTS[number % len(MOMENTS)]
        with open(log, "w") as output:
            began = time.time()
            process = start(pod, folder, changes, output)
            wait = time.monotonic() + rng.uniform(0, 8) if moment == "start" else lines_in(folder) + rng.integers(1, 9)
            while process.poll() is None and not reached(moment, folder, wait, began):
                time.sleep(0.0005)
            assert process.poll() is None, f"ended before kill {number}: {log.read_text()}"
            process.kill()
            process.wait()
        resumed = re.search(r"from the checkpoint of step (\d+)", log.read_text())
        temporary = [path for path in (folder / "checkpoints").glob("*") if "tmp" in path.name]
        step = steps_of(folder)[-1]["step"] if lines_in(folder) else 0
        rows.append((number, moment, resumed[1] if resumed else "-", step, len(temporary)))
    with open(log, "w") as output:
        assert start(pod, folder, changes, output).wait() == 0, log.read_text()
    return rows, log.read_text()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_is_the_run_that_is_not(pod, tmp_path, kills):
    changes = {"train__steps": 14 * kills, "checkpoint__every": 4, "train__log_every": 50}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with open(tmp_path / "whole.log", "w") as output:
        assert start(pod, whole, changes, output).wait() == 0, (tmp_path / "whole.log").read_text()
    rows, said = kill_again_and_again(pod, killed, kills, changes, np.random.default_rng(kills))

    print(f"\n{'kill':>4}  {'moment':9} {'went on from':>12} {'last step':>9} {'temporary files':>15}")
    for number, moment, resumed, step, temporary in rows:
        print(f"{number:>4}  {moment:9} {resumed:>12} {step:>9} {temporary:>15}")

    parameters = [re.search(r"parameters \w{64}", text)[0] for text in ((tmp_path / "whole.log").read_text(), said)]
    assert parameters[0] == parameters[1]
    for line, other in zip(steps_of(whole), steps_of(killed), strict=True):
        for what in ("step", "loss", "records", "masks"):
            assert line[what] == other[what]
    assert not [path for path in killed.rglob("*") if "tmp" in path.name]
    assert len(checkpoints.steps(killed / "checkpoints")) == len(list((killed / "checkpoints").glob("*"))) >= 2
