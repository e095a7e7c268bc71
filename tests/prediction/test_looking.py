import jax
import numpy as np
import pytest

from kmerl_jax.prediction import bags, looking
from kmerl_jax.signals.leads import STANDARD
from tests.prediction.conftest import part

NAMES = ["atrial fibrillation", "sinus rhythm"]


@pytest.mark.parametrize(("leads", "seconds"), [(STANDARD, 10), (("V2", "I"), 3.4), (("aVF",), 0.2)])
def test_attention_is_over_what_is_there(model, ecg, leads, seconds):
    (bag,) = bags.of_ecg(part(ecg, leads, seconds))
    weights = looking.attention(model, bag, NAMES)
    assert weights.shape == (2, 1, 2, 12, 50)
    np.testing.assert_allclose(weights.sum((-1, -2)), 1, atol=1e-5)
    there = np.zeros((12, 50), bool)
    there[bag.lead, bag.segment] = True
    assert (weights[..., ~there] == 0).all()
    assert (weights[..., there] > 0).all()


def test_attention_is_that_of_the_formula(model, ecg):
    """Softmax of scaled products, from the parameters."""
    (bag,) = bags.of_ecg(part(ecg, ("II",), 2.0))
    params = jax.device_get(model.params["query_network"])
    layer = params["layers"][0]["cross_attention"]
    x = np.asarray(model.queries(tuple(NAMES)))[:2] @ params["projection"]["kernel"] + params["projection"]["bias"]

    def norm(x, with_):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * with_["scale"] + with_["bias"]

    x = norm(norm(x, params["projection_norm"]), params["layers"][0]["cross_attention_norm"])
    (features,) = model.features([bag])
    query = (x @ layer["query"]["kernel"] + layer["query"]["bias"]).reshape(2, 2, 16)
    key = (features @ layer["key"]["kernel"] + layer["key"]["bias"]).reshape(-1, 2, 16)
    score = np.einsum("qhk,thk->qht", query, key) / 4
    expected = np.exp(score) / np.exp(score).sum(-1, keepdims=True)
    np.testing.assert_allclose(model.attention(bag, NAMES)[:, 0], expected, atol=1e-5)


def test_what_is_taken_away_is_not_there(model, ecg):
    shown = part(ecg, ("I", "II", "V5"), 6.0)
    (bag,) = bags.of_ecg(shown)
    looked = looking.look(model, bag, NAMES)
    with_all = model.findings(shown, NAMES)
    for lead in STANDARD:
        changes = looked.without_lead[:, STANDARD.index(lead)]
        if lead in shown.leads:
            rest = tuple(other for other in shown.leads if other != lead)
            np.testing.assert_allclose(changes, with_all - model.findings(shown, NAMES, rest), atol=1e-5)
        else:
            assert np.isnan(changes).all()
    assert np.isfinite(looked.without_span[:, :6]).all()
    assert np.isnan(looked.without_span[:, 6:]).all()
    np.testing.assert_allclose(looked.attention.sum((1, 2)), 1, atol=1e-5)


def test_the_only_lead_cannot_be_taken_away(model, ecg):
    (bag,) = bags.of_ecg(part(ecg, ("V3",)))
    assert np.isnan(looking.look(model, bag, NAMES).without_lead).all()


def test_every_subset_of_few_leads(model, ecg):
    shown = part(ecg, ("V4", "I", "aVL"))
    (bag,) = bags.of_ecg(shown)
    leads, table = looking.every_subset(model, bag, NAMES)
    assert leads == ["I", "aVL", "V4"]
    assert np.isnan(table[0]).all()
    for row in range(1, 8):
        seen = tuple(lead for n, lead in enumerate(leads) if row >> n & 1)
        np.testing.assert_allclose(table[row], model.findings(shown, NAMES, seen), atol=1e-5)


def test_all_4095_subsets_of_twelve(model, ecg):
    (bag,) = bags.of_ecg(part(ecg, seconds=1.0))
    calls = []
    leads, table = looking.every_subset(model, bag, NAMES, lambda done, total: calls.append((done, total)))
    assert leads == list(STANDARD)
    assert table.shape == (4096, 2)
    assert np.isfinite(table[1:]).all()
    assert calls[-1] == (4095, 4095)
    np.testing.assert_allclose(table[-1], model.findings(part(ecg, seconds=1.0), NAMES), atol=1e-5)
