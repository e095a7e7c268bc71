"""Scores of runs, and their differences."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import fine_tune, metrics, pretrained, scoring
from kmerl_jax.evaluation.answers import Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.task import Part, Task, own
from kmerl_jax.reproduction import scores
from kmerl_jax.reproduction.scores import Score, Scorer
from kmerl_jax.reproduction.table import Measure, Row
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.training import sharding

RNG = np.random.default_rng(0)


def score(*seeds, draws=None):
    return Score(np.array(seeds), np.asarray(draws if draws is not None else RNG.normal(0.7, 0.05, 500)))


def test_means():
    one, two = score(0.6, 0.8, draws=[0.5, 0.7]), score(0.7, 0.9, draws=[0.7, 0.9])
    both = scores.mean([one, two])
    np.testing.assert_allclose(both.seeds, [0.65, 0.85])
    np.testing.assert_allclose(both.draws, [0.6, 0.8])
    runs = scores.over_seeds([score(0.6, draws=[0.5, 0.7]), score(0.8, draws=[0.7, 0.7])])
    np.testing.assert_allclose(runs.draws, [0.6, 0.7])
    assert runs.value == pytest.approx(0.7)
    assert runs.deviation == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert score(0.6).deviation is None


def test_a_difference_is_of_the_same_patients():
    """Two models that are right of the same patients differ by what they differ, whoever was drawn."""
    draws = RNG.normal(0.8, 0.05, 2000)
    one, two = score(0.8, draws=draws), score(0.75, draws=draws - 0.05)
    value, (low, high) = scores.less(one, two)
    assert (value, low, high) == pytest.approx((0.05, 0.05, 0.05))
    assert one.ci95[0] < two.ci95[1]  # the intervals of each alone overlap


@pytest.fixture(scope="module")
def task(demo_store):
    return own(Store(demo_store), (), None, 2)


def test_a_macro_is_that_of_the_evaluation(task):
    part = task.scored
    weights = metrics.patient_weights(part.patients)
    values = RNG.normal(size=(2, len(part.records), len(task.names))) + part.labels
    seen = RNG.random(len(part.records)) < 0.9
    cuts = np.zeros((2, len(task.names)))
    whole = scoring.score(task, values, seen, weights, cuts)
    for measure in ("auroc", "f1"):
        seeds, draws = scoring.macro(task, values, seen, weights, cuts, measure=measure)
        np.testing.assert_allclose(seeds, whole[f"macro_{measure}_seeds"])
        np.testing.assert_allclose(metrics.interval(draws), whole[f"macro_{'' if measure == 'auroc' else 'f1_'}ci95"])
    some = task.names[:2]
    seeds, _ = scoring.macro(task, values, seen, weights, names=some)
    expected = scoring.score(task, values, seen, weights, groups={"some": some})["groups"]["some"]["macro_auroc"]
    assert seeds.mean() == pytest.approx(expected)
    assert np.isnan(scoring.macro(task, values, seen, weights, names=())[0]).all()


def test_a_macros_interval_is_that_of_resampled_patients():
    """Against scikit-learn on the records themselves; a class keeps its value in draws that have not both kinds."""
    rng, count = np.random.default_rng(3), 40
    patients = rng.integers(0, 15, count)
    labels = np.stack([rng.random(count) < 0.5, np.arange(count) == 7], 1).astype(np.int8)
    values = rng.normal(size=(1, count, 2)) + labels
    weights = metrics.patient_weights(patients, 200)
    part = Part(np.arange(count).astype(str), patients, labels, np.arange(count), np.arange(count))
    task = Task("x", "x", ("one", "two"), ("one", "two"), {"test": part})
    seeds, draws = scoring.macro(task, values, np.ones(count, bool), weights)
    whole = [roc_auc_score(labels[:, n], values[0, :, n]) for n in range(2)]
    assert seeds == pytest.approx([np.mean(whole)])
    kept = 0
    for draw, weight in zip(draws, weights.T, strict=True):
        rows = np.repeat(np.arange(count), weight)
        both = [len(set(labels[rows, n])) == 2 for n in range(2)]
        kept += not all(both)
        each = [roc_auc_score(labels[rows, n], values[0, rows, n]) if both[n] else whole[n] for n in range(2)]
        assert draw == pytest.approx(np.mean(each))
    assert 40 < kept < 120  # some 1/e of them
    alone = metrics.patient_weights(np.zeros(count), 200)
    seeds, draws = scoring.macro(task, values, np.ones(count, bool), alone)
    assert seeds == pytest.approx([np.mean(whole)])
    assert np.isnan(metrics.interval(draws)).all()


@pytest.fixture(scope="module")
def scorer(demo_store, task, small_run):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    how = fine_tune.Settings(epochs=1, batch_size=16)
    progress = lambda what: lambda done, total: None  # noqa: E731
    return Scorer({"demo": (Store(demo_store), task)}, None, 2, how, mesh, progress, small_run)


def test_columns_of_a_run(scorer, small_run, task):
    columns = (
        Measure("12 leads", "zero_shot"),
        Measure("1", "zero_shot", "first 1"),
        Measure("cosine", "zero_shot", "I"),
        Measure("probe", "linear_probe", ratio=0.5),
    )
    found = scorer.of(Row("ours"), small_run, 0, columns)
    assert list(found) == [(column, "demo") for column in columns]
    assert found[columns[1], "demo"].value == found[columns[2], "demo"].value  # the first lead is I
    run = pretrained.load(small_run, scorer.mesh)
    store = Store(run.config.data.store)
    rows = np.unique(np.concatenate([part.rows for part in task.parts.values()]))
    answers = Answers(run, tuple(sorted(task.names)), rows, 16, 0, lambda what: lambda done, total: None)
    logits, seen = answers.logits(task.scored, task.names, View(store, STANDARD))
    expected = scoring.score(task, logits[None], seen, metrics.patient_weights(task.scored.patients))
    assert found[columns[0], "demo"].value == pytest.approx(expected["macro_auroc"])
    np.testing.assert_allclose(found[columns[0], "demo"].ci95, expected["macro_ci95"])
    assert found[columns[3], "demo"].seeds.shape == (1,)  # the probes of one encoder are one model


def test_what_is_not_scored_is_looked_at_with_the_leads_of_a_probe_alone(scorer, small_run, task, tmp_path):
    counted = {}
    progress = lambda what: lambda done, total: counted.update({what: total})  # noqa: E731
    run = tmp_path / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("features"))
    columns = Measure("1", "zero_shot", "II"), Measure("2", "zero_shot", "V1"), Measure("2", "linear_probe", "V1")
    dataclasses.replace(scorer, progress=progress).of(Row("ours"), run, 0, columns)
    records = {split: len(part.rows) for split, part in task.parts.items()}
    assert records["train"] > 0
    assert counted == {
        "pretrained encoder, II": records[task.split],
        "pretrained encoder, V1": sum(records.values()),
    }


def test_what_learnt_no_names_is_asked_for_none(scorer, small_run):
    columns = Measure("12 leads", "zero_shot"), Measure("probe", "linear_probe", "II", 1.0)
    random = scorer.of(Row("random", encoder="random"), small_run, 0, columns)
    assert list(random) == [(columns[1], "demo")]
    other = scorer.of(Row("random", encoder="random"), small_run, 1, columns)
    assert random[columns[1], "demo"].value != other[columns[1], "demo"].value
    pretrained_one = scorer.of(Row("ours"), small_run, 0, columns)
    assert pretrained_one[columns[1], "demo"].value != random[columns[1], "demo"].value
    assert scorer.of(Row("random", encoder="random"), small_run, 0, columns[:1]) == {}
    supervised = scorer.of(Row("supervised", encoder="supervised"), small_run, 0, columns)
    assert 0 < supervised[columns[1], "demo"].value < 1


def test_how_a_row_is_asked(scorer, small_run):
    columns = (Measure("12 leads", "zero_shot"),)
    query, cosine = (scorer.of(Row("x", scores=way), small_run, 0, columns) for way in ("", "cosine"))
    assert query[columns[0], "demo"].value != cosine[columns[0], "demo"].value


def test_which_classes_are_seen_is_the_first_rows_to_tell(scorer, small_run, task, tmp_path):
    """A run that was asked for fewer entities is scored on the same classes."""
    other = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("features"))
    kept = json.loads((other / "entities.json").read_text())
    few = kept | {"entities": [name for name in kept["entities"] if name not in task.names]}
    embeddings = np.load(other / "entities.npy")
    np.save(other / "entities.npy", embeddings[np.isin(kept["entities"], few["entities"])])
    (other / "entities.json").write_text(json.dumps(few))
    columns = Measure("seen", "zero_shot", group="seen"), Measure("unseen", "zero_shot", group="unseen")
    ours, theirs = (scorer.of(Row("x"), run, 0, columns) for run in (small_run, other))
    for where, one in ours.items():
        assert np.isfinite(one.value)
        assert theirs[where].value == pytest.approx(one.value, abs=1e-6)
    alone = dataclasses.replace(scorer, asking=other).of(Row("x"), other, 0, columns)
    assert np.isnan(alone[columns[0], "demo"].value)


def test_a_patient_is_drawn_alike_in_all_tasks_of_a_store(demo_store, task):
    """So that a mean over tasks of one data set is not taken for one over as many data sets."""
    store, part = Store(demo_store), task.scored
    half = dataclasses.replace(
        part,
        records=part.records[::2],
        patients=part.patients[::2],
        labels=part.labels[::2],
        rows=part.rows[np.isin(part.record, np.arange(0, len(part.records), 2))],
        record=np.arange(len(part.records[::2])),
    )
    other = dataclasses.replace(task, parts=task.parts | {task.split: half})
    scorer = Scorer({"a": (store, task), "b": (store, other)}, None, 2, None, None, None, None)
    one, two = scorer._weights(store, task), scorer._weights(store, other)
    np.testing.assert_array_equal(one[::2], two)
    np.testing.assert_array_equal(one, metrics.patient_weights(part.patients))
