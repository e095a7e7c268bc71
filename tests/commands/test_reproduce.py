"""The reproduce command as users run it, short of training."""

import json
import shutil
from pathlib import Path

import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import experiment
from tests.commands.forks import run
from tests.evaluation.conftest import rewritten


def reproduce(*arguments):
    return run(*arguments, module="reproduce")


def test_what_is_needed(tmp_path):
    done = reproduce("--table=2a,7d", "--rows=without|5", "--dry_run", f"--runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4  # both tables have K-MERL itself, whichever rows are named
    assert all(line.startswith(f"missing {tmp_path}/vit_tiny-demo-") for line in lines)
    assert [line.partition("-seed0")[2] for line in lines] == [
        "", "  loss.contrast=0.0", "  loss.entities=0.0", "  model.query_depth=5"
    ]  # fmt: skip


def test_a_plan_needs_nothing_to_be_scored_on(tmp_path):
    done = reproduce("--table=fig8", "--recipe=mimic", "--dry_run", f"--runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5  # names and prompts are of the same runs


def test_a_slurm_array(tmp_path):
    done = reproduce("--table=6", "--recipe=mimic", "--slurm", f"--runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-20" in done.stdout  # 7 rows, 3 seeds
    assert done.stdout.count("--config=configs/merl_resnet18.py:mimic") == 9


def test_runs_that_are_done_are_scored_and_a_row_that_cannot_be_is_named(small_run, demo_store, tmp_path):
    how = "--table=2a", f"--runs={tmp_path / 'runs'}", f"--pretraining_store={demo_store}"
    for n, line in enumerate(reproduce(*how, "--dry_run").stdout.splitlines()):
        folder = Path(line.split()[1])
        shutil.copytree(small_run, folder)
        (folder / "results").mkdir()
        (folder / "results" / "zero_shot.json").write_text("{}")
        if n == 1:
            (folder / "entities.npy").write_bytes(b"cut")
    done = reproduce(*how)
    assert done.returncode == 1
    assert "3 runs, 3 of them done" in done.stdout
    page = tmp_path / "runs" / "tables" / "demo" / "table_2a.md"
    assert done.stdout.splitlines()[-1] == f"page: {page}"
    text = page.read_text()
    assert "A rehearsal on simulated ECGs; runs of the recipe's own length, 1 seed a row" in text
    task = experiment.open_tasks([demo_store], ["demo"], None, "raw")["demo"][1]
    labels, held_out = task.scored.labels, [name in task.unseen for name in task.names]
    varied = [len({0, 1} & set(labels[:, n])) == 2 and not held_out[n] for n in range(len(task.names))]
    assert 0 < sum(varied) < len(varied)
    assert f"{len(labels)} test records, {sum(varied)} of {len(varied)} classes" in text
    facts = json.loads(page.with_suffix(".json").read_text())
    one, two, three = ({(s["name"], s["task"]): s["value"] for s in row["scores"]} for row in facts["rows"])
    assert set(one) == {(name, task) for name in ("1 lead", "12 leads") for task in ("demo", "mean")}
    assert two == {}
    assert "entities.npy" in facts["failed"]["without the contrast"]
    assert three["12 leads", "demo"] != one["12 leads", "demo"]  # asked by cosine
    assert (page.with_suffix(".png")).exists()


def test_rates_are_compared_on_validation_records(small_run, demo_store, tmp_path):
    how = "--table=rates", f"--runs={tmp_path / 'runs'}", f"--pretraining_store={demo_store}"
    for line in reproduce(*how, "--dry_run").stdout.splitlines():
        folder = Path(line.split()[1])
        shutil.copytree(small_run, folder)
        (folder / "results").mkdir()
        (folder / "results" / "zero_shot.json").write_text("{}")
    entities = json.loads((folder / "entities.json").read_text())
    (folder / "entities.json").write_text(json.dumps(entities | {"texts_from_labels": True}))
    done = reproduce(*how)
    assert done.returncode == 0, done.stderr
    table = Store(demo_store).table
    there = (table["split"] == "val").sum()
    page = (tmp_path / "runs" / "tables" / "demo" / "table_rates.md").read_text()
    assert f"demo: {there} val records" in page
    assert "whose texts are made from labels: not zero-shot" in page


_WRONG_FLAGS = "--table is missing, which must be given", "--table is empty", "--store is empty", "--rows is empty"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table=2d"], "--table: unknown '2d'; there are 1, 2a, 2b"),
        (["--table=1", "--recipe=mimic"], "--store names the stores to be scored on"),
        (["--table=fig8"], "--prompts names what python -m kmerl_jax.prompts wrote for --labels=demo"),
        (["--table=1", "--store=nowhere"], "nowhere not found"),
        (["--table="], "--table is empty"),
        (["--table=1", "--store="], "--store is empty"),
        (["--table=1", "--slurm", "--dry_run"], "give one"),
        (["--table=1,2a", "--rows=ViT"], "'ViT' finds no row of 'losses'; there are K-MERL; without the contrast"),
        (["--table=1", "--rows=(ViT"], "'(ViT' is no regular expression"),
        (["--table=2a", "--labels=cpsc2018"], "--labels=cpsc2018 need --store"),
        (["--table=2a", "--out=README.md"], "--out=README.md is a file"),
        (["--table=2a", "--beside=README.md"], "--beside has no effect: only fig6 draws it"),
        (["--table=2a", "--prompts=README.md"], "--prompts has no effect: only fig8 asks by prompts"),
        (["--table=2a", "--splits=configs"], "--splits has no effect: MERL has splits of"),
        (["--table=2a", "--pretraining_store=nowhere"], "nowhere"),
        (["--table=2a", "--runs=README.md"], "--runs=README.md is a file"),
        (["--steps=3"], "--table is missing, which must be given"),
        (["--table=1", "--rows=random", "--supervised_epochs=3"], "--supervised_epochs has no effect: only table 1's"),
        (["--table=fig6", "--beside=README.md"], "--beside=README.md is not JSON"),
        (["--table=fig6", "--beside=tests/golden/vit_tiny-demo.json"], "is not the fig6.json that"),
        (["--table=fig6", "--rows="], "--rows is empty"),
        (["--table=fig8", "--prompts=tests/golden/vit_tiny-demo.json"], "not a JSON object of class codes and texts"),
    ],
)
def test_what_would_stop_it_is_said_before_anything_is_trained(arguments, message, tmp_path):
    done = reproduce(f"--runs={tmp_path}", *arguments)
    assert done.returncode == (2 if message in _WRONG_FLAGS else 1)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_page_that_lacks_its_rows_is_not_drawn_beside(tmp_path):
    (tmp_path / "fig6.json").write_text('{"table": "fig6"}')
    done = reproduce("--table=fig6", f"--beside={tmp_path / 'fig6.json'}", f"--runs={tmp_path / 'runs'}")
    assert done.returncode == 1
    assert "is not the fig6.json that" in done.stderr


def test_a_reading_that_is_not_there_is_said_before_anything_is_trained(demo_store, tmp_path):
    done = reproduce("--table=7c", f"--pretraining_store={demo_store}", f"--runs={tmp_path / 'runs'}")
    assert done.returncode == 1
    assert "Llama-3.1-70B-Instruct not found, a reading that vit_tiny-demo-" in done.stderr
    assert f"kmerl_jax.mine --store={demo_store} --extractor=llm --name=Llama-3.1-70B-Instruct" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_labels_without_a_store_are_said_before_anything_is_trained(demo_store, tmp_path):
    done = reproduce("--table=1", "--recipe=mimic", f"--store={demo_store}", f"--runs={tmp_path}")
    assert done.returncode == 1
    assert "--labels=ptb_xl.super needs a store of ptb_xl" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_a_column_or_a_row_needs_is_said_before_anything_is_trained(demo_store, tmp_path):
    """F1 validation records; prompts every class, also of a store that is not made yet."""
    table = Store(demo_store).table
    rewritten(demo_store, tmp_path / "store", table.assign(split=table["split"].replace("val", "train")))
    done = reproduce("--table=fig5", "--labels=demo", f"--store={tmp_path / 'store'}", f"--runs={tmp_path / 'runs'}")
    assert done.returncode == 1
    assert "demo: F1 needs validation records" in done.stderr
    (tmp_path / "prompts.json").write_text('{"AFIB": "atrial fibrillation"}')
    done = reproduce("--table=fig8", f"--prompts={tmp_path / 'prompts.json'}", f"--runs={tmp_path / 'runs'}")
    assert done.returncode == 1
    assert "--prompts has no prompt for 26 of 26 classes of demo: " in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help():
    done = reproduce("--help")
    assert done.returncode == 0
    assert "a rehearsal on simulated ECGs" in done.stdout


def test_probes_without_records_to_learn_from_are_said_before_anything_is_trained(demo_store, tmp_path):
    table = Store(demo_store).table
    rewritten(demo_store, tmp_path / "store", table.assign(split=table["split"].replace("test", "val")))
    store = tmp_path / "store"
    done = reproduce("--table=1", "--labels=demo", f"--store={store}", f"--runs={tmp_path / 'runs'}")
    assert done.returncode == 1
    assert "what learns from labels needs records to learn from" in done.stderr
    assert not (tmp_path / "runs").exists()
