import json

import numpy as np
import pandas as pd
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import pretrained
from kmerl_jax.evaluation.inference import View
from kmerl_jax.prediction import cohort
from kmerl_jax.training import sharding

PART = 40


@pytest.fixture
def opened(evaluated_run, monkeypatch):
    monkeypatch.setattr(cohort, "_PART", PART)
    return pretrained.load(evaluated_run, sharding.make_mesh())


@pytest.fixture
def view(demo_store):
    return View(Store(demo_store), ("I", "II"))


def test_a_store_as_one_table(opened, view, model, tmp_path):
    calls = []
    out = tmp_path / "embedded"
    assert cohort.embed(opened, view, out, 2, progress=lambda done, total: calls.append((done, total))) == 0
    table = pd.read_parquet(out)
    entries = len(view.store.table)
    assert len(table) == entries
    assert calls[-1] == (entries, entries)
    assert list(table["record"]) == list(view.store.table["record"])
    assert table["seen"].all()
    found = inference(opened, view, np.array([0, PART - 1, PART, entries - 1]))
    for name, row in (("pooled", "pooled"), ("projected", "ecg")):
        stored = np.stack(table[name].iloc[[0, PART - 1, PART, entries - 1]])
        assert stored.dtype == np.float32
        np.testing.assert_allclose(stored, found[row], atol=1e-5)


def inference(opened, view, rows):
    from kmerl_jax.evaluation import inference

    return inference.describe(
        opened.model,
        opened.params,
        opened.encoder.embed(["af"]),
        opened.form,
        opened.mesh,
        view=view,
        rows=rows,
        batch_size=2,
    )


def test_shards_and_going_on(opened, view, tmp_path):
    out, whole = tmp_path / "parts", tmp_path / "whole"
    parts = -(-len(view.store.table) // PART)
    assert cohort.embed(opened, view, out, 2, (1, 2)) == -(-parts // 2)
    made = sorted(path.name for path in out.glob("*.parquet"))
    assert made == [f"part-{n:05d}.parquet" for n in range(1, parts, 2)]
    before = (out / made[0]).stat().st_mtime_ns
    assert cohort.embed(opened, view, out, 2) == 0
    assert (out / made[0]).stat().st_mtime_ns == before, "what is there is not made again"
    cohort.embed(opened, view, whole, 2)
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))


def test_a_folder_of_something_else(opened, view, tmp_path):
    out = tmp_path / "embedded"
    cohort.embed(opened, view, out, 2)
    with pytest.raises(ValueError, match="begun with another leads"):
        cohort.embed(opened, View(view.store, ("V1",)), out, 2)
    about = json.loads((out / "_embedding.json").read_text())
    (out / "_embedding.json").write_text(json.dumps(about | {"model": "x"}))
    with pytest.raises(ValueError, match="begun with another model"):
        cohort.embed(opened, view, out, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds something else"):
        cohort.embed(opened, view, tmp_path / "full", 2)
