"""Which runs a table needs, and how they are trained."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kmerl_jax.reproduction import runs
from kmerl_jax.reproduction.table import Measure, Row, Table

ROOT = Path("somewhere")
COLUMNS = (Measure("12 leads", "zero_shot"),)
ONE = Table("one", (Row("ours"), Row("other", "merl_vit_tiny"), Row("random", encoder="random")), COLUMNS)
TWO = Table("two", (Row("ours"), Row("changed", changes={"loss.entities": 0.0})), COLUMNS, seeds=2)


@pytest.fixture(autouse=True)
def _in_the_clone(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])


def test_tables_share_runs():
    one = runs.needed([ONE], "demo", {}, None, ROOT)
    assert [(run.config, run.seed) for run in one] == [("vit_tiny", 0), ("merl_vit_tiny", 0)]
    both = runs.needed([ONE, TWO], "demo", {}, None, ROOT)
    assert len(both) == 5
    assert {run.seed for run in both} == {0, 1}
    assert len({run.folder for run in both}) == 5
    assert set(one) < set(both)
    assert len(runs.needed([ONE], "demo", {}, 3, ROOT)) == 6


def test_a_run_is_named_after_all_that_it_is():
    def folder(recipe="demo", common=(), seed=0, **changes):
        row = Row("x", changes=changes)
        return runs.of_row(row, recipe, dict(common), seed + 1, ROOT)[seed].folder

    assert folder() == folder()
    different = [folder(), folder("mimic"), folder(seed=1), folder(a=1), folder(a=2), folder(common={"a": 3})]
    assert len(set(different)) == 6
    assert folder(b=1, a=2) == folder(a=2, b=1) == folder(common={"b": 1}, a=2)
    assert folder(common={"a": 3}, a=2) == folder(a=2)  # a row's own change holds
    assert folder(**{"model.query_depth": 4, "train.steps": 320}) == folder()
    assert folder("mimic", **{"train.steps": 320}) != folder("mimic")


def test_a_row_may_scale_what_the_recipe_has():
    row = Row("x", scaled={"optimizer.learning_rate": 3.0})
    (demo,), (mimic,) = (runs.of_row(row, recipe, {}, 1, ROOT) for recipe in ("demo", "mimic"))
    assert demo.changes == (("optimizer.learning_rate", 9e-3),)
    assert mimic.changes == (("optimizer.learning_rate", 6e-4),)
    assert runs.of_row(Row("x", scaled={"optimizer.learning_rate": 1.0}), "demo", {}, 1, ROOT)[0].changes == ()


def test_what_a_later_version_would_train_is_another_run(monkeypatch):
    (before,) = runs.of_row(Row("x"), "demo", {}, 1, ROOT)
    folder, config = before.folder, runs._config
    monkeypatch.setattr(runs, "_config", lambda *which: config(*which) | {"loss.entities": 2.0})
    assert before.folder != folder
    monkeypatch.setattr(runs, "_config", lambda *which: config(*which) | {"train.log_every": 7})
    assert before.folder == folder  # what is learnt does not depend on it


def test_a_config_that_is_not_there():
    table = Table("x", (Row("x", "vit_huge"),), COLUMNS)
    with pytest.raises(FileNotFoundError, match=r"vit_huge\.py not found; start the command in the clone"):
        runs.needed([table], "demo", {}, None, ROOT)


def make_done(folder, store_plan=None):
    """What a run leaves behind that is trained and scored to its end."""
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "zero_shot.json").write_text("{}")
    (folder / "checkpoints" / "3").mkdir(parents=True)
    (folder / "entities.json").write_text(json.dumps({"store_plan": store_plan}))


def test_a_run_is_done_if_it_is_still_there_and_its_store_is_the_same(tmp_path):
    (run,) = runs.needed([TWO], "demo", {"data.store": str(tmp_path / "store")}, 1, tmp_path / "runs")[:1]
    assert not run.done
    make_done(run.folder, {"seed": 1})
    assert run.done  # a store that has gone is not another one
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text(json.dumps({"plan": {"seed": 1}}))
    assert run.done
    (tmp_path / "store" / "manifest.json").write_text(json.dumps({"plan": {"seed": 2}}))
    assert not run.done
    (tmp_path / "store" / "manifest.json").unlink()
    (run.folder / "entities.json").write_text("{")
    with pytest.raises(ValueError, match=r"entities\.json is damaged .*restore it"):
        _ = run.cohort
    (tmp_path / "store" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        _ = run.done
    (run.folder / "checkpoints" / "3").rmdir()
    assert not run.done


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Stands in for Python: leaves results behind, or an error if the entity loss is left out."""
    script = tmp_path / "python"
    script.write_text(
        """#!/bin/bash
for word in "$@"; do case "$word" in --workdir=*) folder="${word#--workdir=}";; esac; done
mkdir -p "$folder/results"; echo "$@" >> "$folder/asked"
case "$*" in *loss.entities=0.0*) echo "error: out of luck" >&2; exit 1;; esac
echo '{}' > "$folder/results/zero_shot.json"; mkdir -p "$folder/checkpoints/3"; echo '{}' > "$folder/entities.json"
"""
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return tmp_path / "runs"


def test_what_is_done_is_not_done_again_and_a_failure_stops_no_other(trainer):
    planned = runs.needed([TWO, ONE], "demo", {"train.steps": 3}, 1, trainer)
    failed = runs.train(planned)
    assert [(run.changes, why) for run, why in failed.items()] == [
        ((("loss.entities", 0.0), ("train.steps", 3)), "out of luck")
    ]
    assert [run.done for run in planned] == [True, False, True]
    assert planned[0].store == Path("data/demo")
    asked = (planned[0].folder / "asked").read_text()
    assert "-m kmerl_jax.train --config=configs/vit_tiny.py:demo" in asked
    assert "--config.train.steps=3 --config.seed=0" in asked
    runs.train(planned)
    assert len((planned[0].folder / "asked").read_text().splitlines()) == 1
    assert len((planned[1].folder / "asked").read_text().splitlines()) == 2


def test_the_slurm_array_is_of_what_is_missing(trainer, tmp_path):
    """Each of its tasks runs one command, as the shell reads it."""
    planned = runs.needed([TWO, ONE], "demo", {"note": "it's 'one'"}, 1, trainer)
    done = planned[0]
    make_done(done.folder)
    script = tmp_path / "array.sh"
    script.write_text(runs.slurm(planned))
    assert {"#SBATCH --array=0-1", "#SBATCH --requeue", "#SBATCH --signal=TERM@120"} <= set(
        script.read_text().splitlines()
    )
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@" > "$OUT"\n')
    (fake / "srun").chmod(0o755)
    for n, run in enumerate(planned[1:]):
        out = tmp_path / f"out{n}"
        about = {"PATH": f"{fake}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": str(n), "OUT": str(out)}
        subprocess.run(["bash", script], env=about, check=True)
        asked = out.read_text().splitlines()
        assert asked[asked.index("python") :] == [
            "python",
            "-m",
            "kmerl_jax.train",
            "--preempted_status=75",
            *run.arguments,
        ]


def test_the_array_is_for_slurm(trainer, tmp_path):
    script = tmp_path / "array.sh"
    script.write_text(runs.slurm(runs.needed([ONE], "demo", {}, 1, trainer)))
    done = subprocess.run(["bash", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "submit this with sbatch" in done.stderr


def test_nothing_is_missing(trainer):
    planned = runs.needed([ONE], "demo", {}, 1, trainer)
    for run in planned:
        make_done(run.folder)
    with pytest.raises(ValueError, match="all 2 runs are done"):
        runs.slurm(planned)
