import dataclasses
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.knowledge.queries import Queries
from kmerl_jax.training.run import Run, patient_digests

ASKED = Queries(("a", "b"), {"b": ("a",)}, {"a": 3, "b": 4}, np.zeros((5, 2), np.int8), {}, {})
EMBEDDINGS = np.eye(2, dtype=np.float32)
ENCODER = SimpleNamespace(embed=lambda names: EMBEDDINGS, fingerprint="spelling-1")
STORE, OTHER_STORE = (
    SimpleNamespace(manifest={"plan": plan, "cohort": "ptb_xl"}, texts_from_labels=True)
    for plan in ("plan", "other plan")
)


@pytest.fixture
def begun(tmp_path):
    """A run directory with a checkpoint."""
    run = Run(tmp_path / "run", base("x", "demo"))
    run.keep_entities(ASKED, STORE, ENCODER)
    (run.checkpoints / "10").mkdir(parents=True)
    return run


def changed(**fields):
    config = base("x", "demo")
    config.update_from_flattened_dict(fields)
    return config


def test_a_run_directory_says_what_it_is(begun):
    assert json.loads((begun.path / "config.json").read_text())["model"]["width"] == 192
    entities = json.loads((begun.path / "entities.json").read_text())
    assert entities["entities"] == ["a", "b"]
    assert entities["superclasses"] == {"b": ["a"]}
    assert (entities["cohort"], entities["texts_from_labels"]) == ("ptb_xl", True)
    np.testing.assert_array_equal(np.load(begun.path / "entities.npy"), EMBEDDINGS)


@pytest.mark.parametrize(
    "fields",
    [
        {"train.steps": 9},
        {"train.log_every": 3},
        {"data.workers": 2, "mesh.fsdp": 2},
        {"checkpoint.every": 7},
        {"data.store": "elsewhere"},
    ],
)
def test_length_logging_and_hardware_may_change(begun, fields):
    Run(begun.path, changed(**fields))


def test_anything_else_is_refused_by_name(begun):
    with pytest.raises(ValueError, match=r"model\.depth was 12, is 2; seed was 0, is 1"):
        Run(begun.path, changed(**{"model.depth": 2, "seed": 1}))
    assert json.loads((begun.path / "config.json").read_text())["seed"] == 0


def test_before_the_first_checkpoint_nothing_is_refused(tmp_path):
    Run(tmp_path, base("x", "demo")).keep_entities(ASKED, STORE, ENCODER)
    run = Run(tmp_path, changed(seed=1))
    run.keep_entities(ASKED, OTHER_STORE, ENCODER)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1


def test_other_entities_or_another_store_are_refused(begun):
    with pytest.raises(ValueError, match="with other entities"):
        begun.keep_entities(dataclasses.replace(ASKED, entities=("a", "c")), STORE, ENCODER)
    with pytest.raises(ValueError, match="a store of other content"):
        begun.keep_entities(ASKED, OTHER_STORE, ENCODER)
    begun.keep_entities(ASKED, STORE, ENCODER)


def test_results_count_for_their_step_only(begun):
    assert begun.results_of(10) is None
    begun.results.mkdir()
    (begun.results / "zero_shot.json").write_text('{"step": 10}')
    assert begun.results_of(10) == {"step": 10}
    assert begun.results_of(20) is None


def test_a_damaged_config_is_a_clear_error(begun):
    (begun.path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Run(begun.path, base("x", "demo"))


def test_one_run_at_a_time(begun):
    begun.claim()
    other = Run(begun.path, base("x", "demo"))
    with pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*; let it end"):
        other.claim()
    begun._claim.close()
    other.claim()


def test_patients_are_kept_as_digests(begun):
    begun.keep_patients("ptb_xl", ["7", "12", "7"])
    kept = np.load(begun.path / "patients.npy", allow_pickle=False)
    assert len(kept) == 2
    np.testing.assert_array_equal(kept, patient_digests("ptb_xl", ["12", "7"]))
    assert not np.isin(patient_digests("csn", ["7", "12"]), kept).any()
