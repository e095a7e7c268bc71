import concurrent.futures
import subprocess
import sys

import jax
import numpy as np
import pytest

import kmerl_jax
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import pretrained
from kmerl_jax.evaluation.inference import View
from kmerl_jax.signals.waveform import Ecg
from kmerl_jax.training import sharding
from tests.prediction.conftest import longer, part

NAMES = ["atrial fibrillation", "a name that nobody trained"]


def test_importing_it_imports_nothing():
    code = "import sys, kmerl_jax; print(sorted({'jax', 'numpy', 'flax', 'kmerl_jax.signals'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = kmerl_jax.lode


def test_it_says_what_an_evaluation_says(model, evaluated_run, demo_store):
    """Of a store's windows, with leads that some lack."""
    store = Store(demo_store)
    run = pretrained.load(evaluated_run, sharding.make_mesh(devices=jax.devices()[:1]))
    for leads in (("I", "II", "V1"), ("V6",)):
        expected, _ = run.describe(NAMES, View(store, leads), np.arange(6), batch_size=4)
        ecgs = []
        for window in (store[row] for row in range(6)):
            there = tuple(np.array(kmerl_jax.STANDARD)[window.presence])
            ecgs.append(Ecg(window.signal[window.presence, : 100 * window.segments] / 1000, there, 500))
        found = model.findings(ecgs, NAMES, leads)
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected["logits"])), atol=2e-6)
        np.testing.assert_allclose(model.embed(ecgs, leads), expected["pooled"], atol=2e-5)
        np.testing.assert_allclose(model.project(ecgs, leads), expected["ecg"], atol=2e-5)


def test_one_and_several(model, ecg):
    one = model.findings(ecg)
    assert one.shape == (len(model.entities),)
    assert one.dtype == np.float32
    mixed = [ecg, part(ecg, ("II",)), part(ecg, ("V1", "I"), 3.4), ecg, longer(ecg, 2)]
    many = model.findings(mixed)
    assert many.shape == (5, len(model.entities))
    for row, each in zip(many, mixed, strict=True):
        np.testing.assert_allclose(row, model.findings(each), atol=1e-5)
    np.testing.assert_allclose(many[0], many[4], atol=1e-5)
    assert np.abs(many[0] - many[1]).max() > 1e-4, "other leads, another answer"


def test_arrays_alone(model, ecg):
    """12 rows at 500 Hz; what is NaN is not there."""
    signal = np.stack([ecg.signal[ecg.leads.index(lead)] for lead in kmerl_jax.STANDARD])
    np.testing.assert_array_equal(model.findings(signal, NAMES), model.findings(ecg, NAMES))
    some = np.where(np.arange(12)[:, None] < 2, signal, np.nan)
    np.testing.assert_array_equal(model.findings(some, NAMES), model.findings(part(ecg, ("I", "II")), NAMES))
    both = model.embed(np.stack([signal, some]))
    np.testing.assert_allclose(both[1], model.embed(part(ecg, ("I", "II"))), atol=1e-5)
    with pytest.raises(ValueError, match=r"signal of shape \(3, 50\) for 12 leads"):
        model.findings(np.zeros((3, 50)))


def test_a_long_ecg_is_the_mean_of_its_windows(model, ecg):
    other = Ecg(ecg.signal[:, ::-1].copy(), ecg.leads, ecg.rate)
    both = Ecg(np.concatenate([ecg.signal, other.signal], 1), ecg.leads, ecg.rate)
    logit = [np.log(p / (1 - p)) for p in (model.findings(each, NAMES) for each in (ecg, other, both))]
    np.testing.assert_allclose((logit[0] + logit[1]) / 2, logit[2], atol=1e-4)
    pooled = [model.embed(each) for each in (ecg, other, both)]
    np.testing.assert_allclose((pooled[0] + pooled[1]) / 2, pooled[2], atol=1e-5)


def test_an_answer_does_not_depend_on_what_else_is_asked(model, ecg):
    alone = model.findings(ecg, NAMES[:1])
    among = model.findings(ecg, [*model.entities, *NAMES])
    np.testing.assert_allclose(alone[0], among[len(model.entities)], atol=1e-6)


def test_features_of_each_token(model, ecg):
    of = model.embed(part(ecg, ("II", "V2"), 12), per_token=True)
    assert of.features.shape == (100, 32)
    assert set(of.lead) == {1, 7}
    np.testing.assert_allclose(of.features.mean(0), model.embed(part(ecg, ("II", "V2"))), atol=1e-5)
    first, second = model.embed([ecg, longer(ecg, 2)], per_token=True)
    assert (len(first.lead), len(second.lead), second.segment.max()) == (600, 1200, 99)


def test_similarity_both_ways(model, ecg):
    texts = ["atrial fibrillation", "sinus rhythm", "normal ecg"]
    ecgs = [ecg, part(ecg, ("I",)), longer(ecg, 2)]
    found = model.similarity(ecgs, texts)
    assert found.shape == (3, 3)
    assert np.abs(found).max() <= 1 + 1e-6
    text = model.opened.project_texts(texts)
    vector = model.project(ecg)
    expected = text @ vector / np.linalg.norm(text, axis=1) / np.linalg.norm(vector)
    np.testing.assert_allclose(model.similarity(ecg, texts), expected, atol=1e-6)


def test_from_many_threads(model, ecg):
    asked = [(part(ecg, leads), names) for leads in (("I",), ("II",), ("V1", "V2")) for names in (NAMES, None)] * 4
    expected = [model.findings(*each) for each in asked]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: model.findings(*each), asked))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_programs_are_compiled(model, ecg):
    model.findings(part(ecg, ("I", "II"), 9.0), NAMES)
    before = model._answer._cache_size()
    for seconds in (8.8, 8.2, 7.0):
        model.findings(part(ecg, ("V1", "II"), seconds), NAMES[:1])
    assert model._answer._cache_size() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, ecg: model.findings(ecg, "atrial fibrillation"), "a list of texts was expected"),
        (lambda model, ecg: model.findings(ecg, [" "]), "an empty name"),
        (lambda model, ecg: model.findings(ecg, []), "an empty name"),
        (lambda model, ecg: model.findings([]), "no ECG was given"),
        (lambda model, ecg: model.similarity(ecg, []), "an empty name or text"),
        (lambda model, ecg: model.findings(part(ecg, ("I",)), NAMES, ("V1",)), "none of V1 holds a signal"),
        (lambda model, ecg: model.findings(part(ecg, seconds=0.1)), "shorter than one segment"),
    ],
)
def test_what_cannot_be_asked(model, ecg, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, ecg)


def test_no_model():
    with pytest.raises(FileNotFoundError, match=r"config\.json not found"):
        kmerl_jax.load("no/such/model")
    with pytest.raises(FileNotFoundError, match="no such model can be had from the Hugging Face Hub"):
        kmerl_jax.load("nobody/nothing")
