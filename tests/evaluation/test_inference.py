import jax
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import inference
from kmerl_jax.evaluation.inference import View
from kmerl_jax.models.encoder import Encoder, LeadEmbedding
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.models.tokens import Form
from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.training import sharding

RNG = np.random.default_rng(0)
MODEL = KMerl(Encoder(LeadEmbedding(32), depth=1, heads=2), QueryNetwork(width=16, depth=1, heads=2), projection=8)
QUERIES = RNG.normal(size=(4, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def store(demo_store):
    return Store(demo_store)


@pytest.fixture(scope="module")
def params():
    bag = inference.tokens.Tokens(
        np.zeros((1, 1, 100), np.float32), np.zeros((1, 1), int), np.zeros((1, 1), int), np.ones((1, 1), bool)
    )
    return MODEL.init(jax.random.key(0), bag, QUERIES[:1], QUERIES)["params"]


def describe(params, view, rows, batch_size=16, mesh=None, normalization="mv"):
    mesh = mesh or sharding.make_mesh()
    how = {"view": view, "rows": rows, "batch_size": batch_size}
    return inference.describe(MODEL, params, QUERIES, Form(normalization), mesh, **how)


def changed(monkeypatch, change):
    """Every window of a store is seen through a function."""
    real = Store.__getitem__

    def get(self, entry):
        window = real(self, entry)
        signal, presence = change(entry, window.signal.copy(), window.presence.copy())
        return type(window)(signal, presence, window.segments)

    monkeypatch.setattr(Store, "__getitem__", get)


def test_answers_do_not_depend_on_batches_or_devices(params, store):
    rows = np.arange(11)
    expected = describe(params, View(store, STANDARD), rows)
    assert {name: values.shape for name, values in expected.items()} == {
        "logits": (11, 4),
        "ecg": (11, 8),
        "pooled": (11, 32),
        "seen": (11,),
    }
    assert expected["seen"].all()
    for batch_size, devices in ((16, 1), (3, 1), (100, 1), (5, 8)):
        mesh = sharding.make_mesh(devices=jax.devices()[:devices])
        out = describe(params, View(store, STANDARD), rows, batch_size, mesh)
        for name, values in out.items():
            if batch_size == 16:  # a device does the same whatever the others do
                np.testing.assert_array_equal(values, expected[name])
            np.testing.assert_allclose(values, expected[name], atol=1e-5)


@pytest.mark.parametrize(("leads", "batch_size", "size"), [(("II",), 4, 48), (STANDARD, 4, 4), (("II",), 16, 150)])
def test_batches_hold_as_many_tokens_and_no_more_ecgs_than_there_are(store, leads, batch_size, size):
    shapes = []

    def forward(params, bag):
        shapes.append(bag.valid.shape[0])
        return {"tokens": bag.valid.sum(1)}

    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    how = {"view": View(store, leads), "rows": np.arange(60), "batch_size": batch_size}
    out = inference.apply(forward, {}, Form(), mesh, **how)
    assert shapes == [size]  # compiled once
    windows = [store[row] for row in range(60)]
    tokens = [window.segments * window.presence[list(lead_ids(leads))].sum() for window in windows]
    np.testing.assert_array_equal(out["tokens"], tokens)


@pytest.mark.parametrize("normalization", ["mv", "zscore", "minmax"])
@pytest.mark.parametrize(("leads", "derive"), [(("II",), False), (("I", "aVF", "V2"), True)])
def test_hidden_leads_influence_nothing(params, store, monkeypatch, normalization, leads, derive):
    """Whatever stands in them: not by normalisation, not by padding, bit for bit."""
    rows, view = np.arange(6), View(store, leads, derive)
    expected = describe(params, view, rows, normalization=normalization)

    def change(entry, signal, presence):
        hidden = [n for n, lead in enumerate(STANDARD) if lead not in leads]
        signal[hidden] = RNG.integers(-30000, 30000, (len(hidden), signal.shape[1]))
        presence[hidden] = RNG.random(len(hidden)) < 0.5
        return signal, presence

    changed(monkeypatch, change)
    out = describe(params, view, rows, normalization=normalization)
    for name, values in expected.items():
        np.testing.assert_array_equal(out[name], values)
    whole = describe(params, View(store, STANDARD), rows, normalization=normalization)
    assert (whole["logits"] != expected["logits"]).any()


def test_an_ecg_without_the_leads_is_not_seen(params, store, monkeypatch):
    def change(entry, signal, presence):
        presence[1] = entry % 2 == 0
        return signal, presence

    changed(monkeypatch, change)
    assert list(describe(params, View(store, ("II",)), np.arange(6))["seen"]) == [True, False] * 3


def test_derived_leads_are_those_that_were_recorded(params, store):
    """The simulator's limb leads obey Einthoven's law up to the rounding to 1 µV, so deriving them changes little."""
    rows = np.arange(4)
    limb = describe(params, View(store, STANDARD[:6]), rows)
    derived = describe(params, View(store, ("II", "aVL"), derive=True), rows)
    two = describe(params, View(store, ("II", "aVL")), rows)
    assert np.abs(derived["pooled"] - limb["pooled"]).max() < 0.3 * np.abs(two["pooled"] - limb["pooled"]).max()


def test_the_rest_of_a_cut_window_is_zero(params, store, monkeypatch):
    """MERL's way with CPSC2018: 2,500 samples, then zeros that count as signal."""
    rows = np.arange(3)
    out = describe(params, View(store, ("II",), samples=2500), rows)

    def change(entry, signal, presence):
        signal[:, 2500:] = 0
        return signal, presence

    changed(monkeypatch, change)
    np.testing.assert_array_equal(describe(params, View(store, ("II",)), rows)["logits"], out["logits"])


def test_what_was_computed_is_kept(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.arange(3.0)}

    first, new = inference.cached(tmp_path / "features", {"model": 1}, compute)
    again, old = inference.cached(tmp_path / "features", {"model": 1}, compute)
    _, other = inference.cached(tmp_path / "features", {"model": 2}, compute)
    np.testing.assert_array_equal(first["a"], again["a"])
    assert (new, old, other, len(calls)) == (True, False, True, 2)
    for file in (tmp_path / "features").iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is damaged"):
        inference.cached(tmp_path / "features", {"model": 1}, compute)
