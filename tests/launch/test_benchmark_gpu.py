"""The script that runs every benchmark, with another command in place of Python; and how results stand to the aims."""

import json
import os
import subprocess

import pytest

from launch import aims
from tests.conftest import REPOSITORY

# Says what it was given; the benchmark of vit_base fails.
FAKE = """#!/usr/bin/env bash
echo "preallocate=${XLA_PYTHON_CLIENT_PREALLOCATE:-} $*"
[[ $* != *vit_base.py* ]]
"""


def script(tmp_path, *arguments):
    python = tmp_path / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    return subprocess.run(
        [REPOSITORY / "launch" / "benchmark_gpu.sh", *arguments],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_failure_is_said_and_does_not_stop_the_others(tmp_path):
    done = script(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("failed: vit_base; ")
    said = [line for line in done.stdout.splitlines() if line.startswith("preallocate=")]
    whats = [line.partition("--what=")[2].split()[0] for line in said if "--what=" in line]
    assert whats == ["step", "step", "end_to_end", "input", "inference", "text", "growth"]
    assert "--records=50000" in said[0]
    assert said[-1].endswith(f"-m launch.aims {tmp_path}/out")
    for line in said:
        assert line.startswith("preallocate=false ") == ("--peer" in line)
    assert (tmp_path / "out" / "growth.log").read_text().startswith("preallocate= -m kmerl_jax.benchmark")


def test_some_parts(tmp_path):
    (tmp_path / "out" / "store").mkdir(parents=True)
    (tmp_path / "out" / "store" / "manifest.json").touch()
    done = script(tmp_path, tmp_path / "out", "input", "aims")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("preallocate=")]
    assert ["--what=input" in line for line in said] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "no folder for the results"), (["-x"], "no folder"), (["out", "speed"], "no part speed")],
)
def test_mistakes_end_in_one_line(tmp_path, arguments, message):
    done = script(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_aims(tmp_path, capsys):
    def kept(title, rates, **facts):
        timed = [{"name": name, "rate": rate} for name, rate in rates.items()]
        return {"title": title, "timed": timed, "machine": {"commit": "abc", "cores": 16}, **facts}

    step = {"kmerl_jax": 300.0, "PyTorch, our tokens, compiled": 200.0, "PyTorch, padded tokens, compiled": 250.0}
    results = {
        "step": kept("step: vit_tiny", step, model_flop_utilisation=0.31),
        "end_to_end": kept("end_to_end: vit_tiny", {"kmerl_jax": 12000.0}, seconds=190.0),
        "input": kept("input: vit_tiny", {"kmerl_jax": 6000.0}),
    }
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    aims.main(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [f"{name}: vit_tiny; commit abc" for name in sorted(results)]
    assert [" ".join(line.split()) for line in said[3:]] == [
        "found at least better",
        "end_to_end, ECG/s 12,000 10,700 25,000 reached",
        "end_to_end, seconds 190 180 reached",
        "input over end_to_end 0.50 1.00 NOT REACHED",
        "cores of the input 16",
        "step over PyTorch, our tokens 1.50 1.00 1.30 reached, and the better one",
        "step over PyTorch, padded tokens 1.20 1.30 NOT REACHED",
        "step over MERL as published - 2.00 4.00 not measured",
        "utilisation, vit_base - 40.0% 50.0% not measured",
        "utilisation, vit_tiny 31.0%",
    ]
