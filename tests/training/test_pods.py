"""Real processes: what they see, and what they do when one is stopped or lost."""

import json
import re

import numpy as np
import pytest

from kmerl_jax.training import checkpoints
from tests.training.conftest import steps_of

MESHES = {"data": 1, "mixed": 2, "fsdp": 4}
TOPOLOGIES = [(1, 4), (2, 2), (4, 1)]


def same_run(folder, other):
    """Records and masks are equal, losses within what rounding does in other orders of sums."""
    lines, others = steps_of(folder), steps_of(other)
    assert [line["step"] for line in lines] == [line["step"] for line in others]
    for what in ("records", "masks"):
        assert [line[what] for line in lines] == [line[what] for line in others]
    np.testing.assert_allclose([line["loss"] for line in lines], [line["loss"] for line in others], rtol=2e-5)


@pytest.fixture(scope="module")
def alone(pod, tmp_path_factory):
    """One process with four devices, 12 steps."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = pod.run(1, 4, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("processes", "devices", "mesh"),
    [(processes, devices, mesh) for processes, devices in TOPOLOGIES for mesh in MESHES],
)
@pytest.mark.slow
def test_any_topology_is_the_same_run(pod, alone, tmp_path, processes, devices, mesh):
    done = pod.run(processes, devices, tmp_path / "run", mesh__fsdp=MESHES[mesh])
    assert done.returncode == 0, done.stderr
    assert "on 4 device(s)" in done.stdout
    same_run(tmp_path / "run", alone)
    assert len(set(re.findall(r"parameters (\w{64})", done.stdout))) == 1  # all processes end with the same


@pytest.mark.parametrize(
    "starts",
    [
        [(2, 2, "mixed", 0, "TERM:4:1", 5), (1, 4, "data", 2, "TERM:99:0", 12)],
        pytest.param(
            [(2, 2, "mixed", 0, "TERM:4:1", 5), (1, 4, "data", 2, "TERM:7:0", 8), (4, 1, "fsdp", 0, "TERM:99:0", 12)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["2-1", "2-1-4"],
)
def test_sigterm_to_one_process_and_going_on_with_another_number(pod, alone, tmp_path, starts):
    """2 processes, then 1 with two worker processes that read, and then 4: one stream."""
    folder = tmp_path / "run"
    for processes, devices, mesh, workers, signal, last in starts:
        flags = [f"--signal={signal}"]
        changes = {"data__workers": workers, "mesh__fsdp": MESHES[mesh], "checkpoint__every": 100}
        done = pod.run(processes, devices, folder, *flags, **changes)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "on 4 device(s)" in done.stdout
        assert checkpoints.steps(folder / "checkpoints")[-1] == last
        if last < 12:
            said = re.findall(r"\[(\d)\] SIGTERM: stopped after step (\d+), which is saved", done.stdout)
            assert sorted(said) == [(str(n), str(last)) for n in range(processes)]
    same_run(folder, alone)


@pytest.mark.parametrize(("lost", "how"), [(1, "KILL"), (0, "KILL"), pytest.param(1, "STOP", marks=pytest.mark.slow)])
def test_the_loss_of_a_process_ends_the_others_with_its_name(pod, tmp_path, lost, how):
    flags = [f"--signal={how}:5:{lost}", "--heartbeat_timeout_s=8"]
    done = pod.run(2, 2, tmp_path / "run", *flags, mesh__fsdp=MESHES["mixed"], train__stall_s=3)
    why = "it was killed, or its host is gone" if how == "KILL" else "nothing was heard of it for 8 s"
    said = re.findall(r"\[(\d)\] error: process (\d) \(\S+\) is lost: (.*?);", done.stdout)
    assert sorted(said) == [(str(n), str(lost), why) for n in range(2) if n != lost]
    if how == "STOP":  # the other waits in its step, and says so before it is told why
        stalled = "process 0: step has taken 3 s: waiting for the devices, or for another process"
        assert stalled in done.stdout[: done.stdout.index("error:")]
    assert done.returncode in ((137, 1) if how == "KILL" else (1,))
    assert checkpoints.steps(tmp_path / "run" / "checkpoints")[-1] >= 2


def test_the_error_of_one_process_is_told_by_all(pod, demo_store, tmp_path):
    done = pod.run(2, 2, tmp_path / "run", "--signal=NONE:1:1", mesh__fsdp=MESHES["mixed"])
    said = re.findall(r"\[(\d)\] error: (.*)", done.stdout)
    assert len(said) == 2
    assert done.returncode == 1
    assert all("SIGNONE" in line for _, line in said)
    assert any("process 1 (" in line for n, line in said if n == "0")


@pytest.mark.slow
def test_a_non_finite_update_ends_all_processes_and_is_kept(pod, tmp_path):
    done = pod.run(2, 1, tmp_path / "run", optimizer__learning_rate=1e38, optimizer__warmup_steps=0)
    # Each finds it by itself, unless the other is so much faster that it has told it already.
    said = re.findall(r"\[(\d)\] error: (?:process \d \(\S+\) ended: )?step (\d+): the loss \(nan\)", done.stdout)
    assert sorted(n for n, _ in said) == ["0", "1"]
    bad = int(said[0][1])
    folder = tmp_path / "run" / f"nonfinite-step-{bad}"
    kept = json.loads((folder / "records.json").read_text())
    assert kept["index"] == list(range(8 * (bad - 1), 8 * bad))  # of both processes
    assert len(kept["entries"]) == 8
    assert (folder / "state").is_dir()
    assert max(checkpoints.steps(tmp_path / "run" / "checkpoints"), default=0) < bad
    assert done.returncode == 1
