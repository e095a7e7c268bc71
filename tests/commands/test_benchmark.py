"""The benchmark command. What is behind it has tests of its own; how fast anything is, is not tested."""

import json

import pytest

from tests.commands.forks import run
from tests.commands.test_train import SMALL


def test_it_prints_a_table_and_keeps_everything(tmp_path):
    fast = ["--seconds=0.05", "--repeats=2", "--queries=9"]
    done = run("--config=configs/vit_tiny.py", *SMALL, *fast, f"--json={tmp_path / 'x.json'}", module="benchmark")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    table = said.index("step: vit_tiny:demo, 8 ECGs a step, 9 queries, 1 x cpu")
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["what"] == "step"
    assert [one["name"] for one in kept["timed"]] == ["kmerl_jax"] == said[table + 2].split()[:1]
    assert 0 < kept["model_flop_utilisation"] < 1
    assert kept["config"]["model"]["width"] == 32
    assert kept["options"] == {"queries": 9, "seconds": 0.05, "repeats": 2, "peer": False}
    assert kept["machine"]["packages"]["jax"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--what=input", "--config.data.store=nowhere"], "nowhere"),
        (["--json=nowhere/x.json"], "--json=nowhere/x.json is in a folder that is not there"),
    ],
)
def test_what_cannot_be_measured(arguments, message):
    done = run("--config=configs/vit_tiny.py:mimic", *arguments, module="benchmark")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
