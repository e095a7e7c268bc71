import json
import shutil

import jax
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import pretrained
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.task import own
from kmerl_jax.training import sharding
from kmerl_jax.training.checkpoints import Checkpoints

MESH = sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def run(small_run):
    return pretrained.load(small_run, MESH)


@pytest.fixture
def copy(small_run, tmp_path):
    return shutil.copytree(small_run, tmp_path / "run")


def test_the_last_checkpoints_parameters_and_nothing_else(run, small_run):
    assert run.step == 4
    manager = Checkpoints(small_run / "checkpoints")
    whole = manager._manager.restore(4)["state"]["params"]
    manager.close()
    assert jax.tree.structure(whole) == jax.tree.structure(run.params)
    jax.tree.map(np.testing.assert_array_equal, whole, run.params)
    other = pretrained.load(small_run, MESH)
    assert run.checksum == other.checksum
    assert run.trained_on["cohort"] == "demo"


def test_the_checkpoint_of_lowest_validation_loss(copy, run):
    """Of pretraining: no label of a task has a say."""
    lines = [{"step": step, "split": "val", "loss": loss} for step, loss in ((2, 1.0), (4, 2.0))]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = pretrained.load(copy, MESH, "lowest_val_loss")
    assert best.step == 2
    assert best.checksum != run.checksum
    lines.append({"step": 3, "split": "val", "loss": 0.5})
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match="it was at step 3, which has no checkpoint; there are 2, 4"):
        pretrained.load(copy, MESH, "lowest_val_loss")
    (copy / "metrics.jsonl").write_text(json.dumps({"step": 4, "loss": 1.0}) + "\n")
    with pytest.raises(ValueError, match="no step of it was validated"):
        pretrained.load(copy, MESH, "lowest_val_loss")


def test_an_unknown_checkpoint(small_run):
    with pytest.raises(ValueError, match="unknown checkpoint 'best'; there are last, lowest_val_loss"):
        pretrained.load(small_run, MESH, "best")


def test_a_run_that_is_none(tmp_path, copy):
    with pytest.raises(FileNotFoundError, match="--run names the directory of a run"):
        pretrained.load(tmp_path / "nowhere", MESH)
    (copy / "config.json").write_text("{half")
    with pytest.raises(ValueError, match="is damaged"):
        pretrained.load(copy, MESH)


def test_a_run_without_a_checkpoint(copy):
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        pretrained.load(copy, MESH)


def test_a_checkpoint_of_another_model(copy):
    config = json.loads((copy / "config.json").read_text())
    config["model"]["width"] = 64
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is of another model"):
        pretrained.load(copy, MESH)


def test_it_knows_whom_it_was_trained_on(run, demo_store, copy):
    store = Store(demo_store)
    task = own(store, (), None, 1)
    assert run.knows(store.population, task.parts["test"]) == 0
    train = task.parts["train"]
    assert run.knows(store.population, train) == len(set(train.patients))
    assert run.knows("demo 77", train) == 0, "ids of another simulation are other people"
    (copy / "patients.npy").unlink()
    with pytest.raises(ValueError, match="does not tell whom it was trained on"):
        pretrained.load(copy, MESH).knows(store.population, train)


def test_what_it_said_once_it_does_not_compute_again(copy, demo_store):
    run, view = pretrained.load(copy, MESH), View(Store(demo_store), ("II",))
    how = {"batch_size": 8}
    first, new = run.describe(["af", "mi"], view, np.arange(5), **how)
    again, old = pretrained.load(copy, MESH).describe(["af", "mi"], view, np.arange(5), **how)
    assert (new, old) == (True, False)
    np.testing.assert_array_equal(first["logits"], again["logits"])
    for names, rows, leads in (
        (["af", "x"], range(5), "II"),
        (["af", "mi"], range(4), "II"),
        (["af", "mi"], range(5), "I"),
    ):
        assert run.describe(names, View(view.store, (leads,)), np.array(rows), **how)[1]
    a, b = (run.random_pooled(seed, view, np.arange(5), **how)[0]["pooled"] for seed in (0, 1))
    assert np.abs(a - b).max() > 0.01
