import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.models.classifier import Classifier
from kmerl_jax.models.encoder import Encoder, LeadEmbedding
from kmerl_jax.models.tokens import Form
from kmerl_jax.training.classification import ClassificationObjective

RNG = np.random.default_rng(0)
BATCH = {
    "signal": jnp.asarray(RNG.integers(-900, 900, (4, 12, 5000)), jnp.int16),
    "presence": jnp.ones((4, 12), bool),
    "segments": jnp.full(4, 50, jnp.int32),
    "labels": jnp.asarray([[1, 0, -1], [0, 0, 1], [1, 1, -1], [0, 1, 0]], jnp.int8),
}


def objective(**changes):
    about = {"form": Form(), "leads": (1, 7), "derive": False, "samples": None, "encoder": {}}
    return ClassificationObjective(Classifier(Encoder(LeadEmbedding(16), depth=1, heads=1), 3), **about | changes)


@pytest.fixture(scope="module")
def params():
    return objective().init(jax.random.key(0), BATCH)


def test_the_loss_is_the_mean_over_what_is_known(params):
    """Against the formula; with a head of zeros it is log 2 whatever the labels."""
    one = objective()
    zeros = params | {"head": jax.tree.map(jnp.zeros_like, params["head"])}
    assert one.loss(zeros, BATCH, None, True)[0] == pytest.approx(np.log(2))
    logits = np.asarray(one.model.apply({"params": params}, one._bag(BATCH)), np.float64)
    labels = np.asarray(BATCH["labels"])
    each = np.logaddexp(0, np.where(labels == 1, -logits, logits))
    loss, metrics = one.loss(params, BATCH, None, True)
    assert loss == pytest.approx(each[labels >= 0].mean(), rel=1e-5)
    assert metrics == {}


def test_hidden_leads_have_no_gradient(params):
    one = objective()
    other = BATCH | {"signal": BATCH["signal"].at[:, [0, 2, 11]].set(123)}
    np.testing.assert_array_equal(one.loss(params, BATCH, None, True)[0], one.loss(params, other, None, True)[0])
    cut = objective(samples=2500)
    late = BATCH | {"signal": BATCH["signal"].at[:, :, 2500:].set(77)}
    np.testing.assert_array_equal(cut.loss(params, BATCH, None, True)[0], cut.loss(params, late, None, True)[0])
    assert cut.loss(params, BATCH, None, True)[0] != one.loss(params, BATCH, None, True)[0]


def test_it_may_begin_with_a_pretrained_encoder(params):
    assert objective().pretrained() == {}
    assert objective(encoder=params["encoder"]).pretrained() == {"encoder": params["encoder"]}
