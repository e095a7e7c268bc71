"""MERL's objective, against PyTorch's model of its published layout, and by what must not change it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kmerl_jax.config import base, merl
from kmerl_jax.evaluation import merl_weights
from kmerl_jax.models import tokens
from kmerl_jax.training import accumulation, flops, sharding
from kmerl_jax.training.methods import build_objective, check
from kmerl_jax.training.optimizer import FROZEN, RUNNING, TRAINED, optimizer
from kmerl_jax.training.texts import FrozenTexts
from tests.training.batches import KEY, WIDTH, frozen_texts, mesh_of, random_batch, random_like, trained_texts

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.torch_reference.merl import MerlObjective  # noqa: E402

torch.set_num_threads(1)
BATCH = jax.tree.map(jnp.asarray, random_batch(6))
WHOLE = BATCH | {"presence": jnp.ones((6, 12), bool), "segments": jnp.full(6, 50, jnp.int32)}


def config_of(encoder="vit", **fields):
    config = merl(base("small", "demo"))
    config.model.update(encoder=encoder, width=128, depth=2, heads=2, projection=8)
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def small(encoder="vit", texts=None, **fields):
    return build_objective(config_of(encoder, **fields), texts or frozen_texts())


@pytest.mark.parametrize("encoder", ["resnet18", "vit"])
def test_loss_gradient_and_running_statistics_are_pytorchs(encoder):
    """Of one step in which the batch's own statistics are used, with views that forget nothing."""
    torch.manual_seed(0)
    config = config_of(encoder, loss__view_dropout=0.0, loss__duplicates=False)
    theirs = MerlObjective(config.model, text=WIDTH)
    theirs.model.dropout.p = 0.0
    params = merl_weights.convert({name: x.numpy().copy() for name, x in theirs.model.state_dict().items()}, config)
    ours = build_objective(config, frozen_texts())

    loss, gradient = jax.jit(jax.value_and_grad(lambda p: ours.loss(p, WHOLE, KEY, True)[0]))(params)
    # Theirs divides by 1,000; tokens of ours are in units of 200 microvolts.
    in_mimic = [0, 1, 2, 3, 5, 4, *range(6, 12)]  # aVF before aVL, as the published weights take them
    batch = {"signal": 5.0 * torch.tensor(np.asarray(WHOLE["signal"], np.float32)[:, in_mimic])}
    expected = theirs.train()(batch | {"text": torch.tensor(np.asarray(WHOLE["text"]))})
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)

    expected.backward()
    # Through 20 normalisations float32 loses digits: PyTorch's own gradients differ as much from those in float64.
    tolerance = 5e-3 if encoder == "resnet18" else 1e-4
    state = {name: x.grad.numpy() for name, x in theirs.model.named_parameters() if x.grad is not None}
    for path, name, side in (
        (("views_0", "kernel"), "linear1.weight", np.transpose),
        (("text_projector", "out", "kernel"), "proj_t.2.weight", np.transpose),
        *(
            [(("encoder", "stem", "convolution", "kernel"), "ecg_encoder.conv1.weight", lambda x: x[:, in_mimic].T)]
            if encoder == "resnet18"
            else [(("encoder", "position"), "ecg_encoder.pos_embedding", lambda x: x[0])]
        ),
    ):
        found = gradient
        for part in path:
            found = found[part]
        np.testing.assert_allclose(found, side(state[name]), atol=tolerance * np.abs(state[name]).max())

    tx = optax.partition({TRAINED: optax.set_to_zero(), RUNNING: optax.sgd(0.1)}, _roles(ours, params))
    updates, _ = tx.update(gradient, tx.init(params))
    after = optax.apply_updates(params, updates)
    there = merl_weights.convert({name: x.numpy().copy() for name, x in theirs.model.state_dict().items()}, config)
    for path, x in jax.tree_util.tree_leaves_with_path(after):
        if path[-1].key in ("mean", "variance"):
            name = jax.tree_util.keystr(path)
            expected = jax.tree_util.tree_leaves(there)[jax.tree_util.tree_leaves_with_path(after).index((path, x))]
            np.testing.assert_allclose(x, expected, atol=1e-5, rtol=1e-4, err_msg=name)


def _roles(objective, params):
    return jax.tree_util.tree_map_with_path(lambda path, _: objective.role(tuple(key.key for key in path)), params)


def outputs(objective, params, batch, train=True):
    return jax.jit(objective.outputs, static_argnums=3)(params, batch, KEY, train)


def params_of(objective):
    params = random_like(jax.eval_shape(objective.init, KEY, BATCH))

    def positive(path, x):
        return np.abs(x) + 0.1 if path[-1].key == "variance" else x

    return jax.tree_util.tree_map_with_path(positive, params)


def test_what_is_not_there_is_zero_and_changes_nothing():
    objective = small()
    params = params_of(objective)
    signal, there = np.array(BATCH["signal"]), np.array(BATCH["presence"])
    late = np.arange(5000)[None, None] >= 100 * np.asarray(BATCH["segments"])[:, None, None]
    hidden = ~there[:, :, None] | late
    one = outputs(objective, params, BATCH | {"signal": jnp.asarray(np.where(hidden, 77, signal))})
    two = outputs(objective, params, BATCH | {"signal": jnp.asarray(np.where(hidden, -900, signal))})
    jax.tree.map(np.testing.assert_array_equal, one, two)
    zeros = jnp.asarray(np.where(hidden, 0, signal))
    whole = outputs(objective, params, WHOLE | {"signal": zeros})
    np.testing.assert_allclose(one["ecg"], whole["ecg"], atol=1e-5)


def test_random_lead_masking_hides_leads():
    objective = small(masking__min_leads=1)
    assert (objective.masking.min_leads, objective.masking.max_leads, objective.masking.masked_segments) == (1, 12, 0)
    params = params_of(objective)
    zero, some = outputs(small(), params, WHOLE), outputs(objective, params, WHOLE)
    assert (np.asarray(zero["masks"]) != np.asarray(some["masks"])).all()
    assert np.abs(np.asarray(zero["ecg"]) - np.asarray(some["ecg"])).max() > 1e-3


def test_views_forget_by_the_place_in_the_stream_alone():
    """Whoever else is in the batch; without training nothing is forgotten."""
    objective = small(loss__view_dropout=0.5)
    key, places = jax.random.key(1), jnp.arange(4000, dtype=jnp.uint32)
    kept = np.asarray(objective._kept(key, places))
    np.testing.assert_array_equal(kept[7:9], objective._kept(key, places[7:9]))
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert kept.mean() == pytest.approx(1.0, abs=0.03)
    assert (kept[:, 0] != kept[:, 1]).mean() == pytest.approx(0.5, abs=0.02)
    params = params_of(objective)
    trained, used = outputs(objective, params, WHOLE), outputs(objective, params, WHOLE, train=False)
    assert (np.asarray(trained["first"]) == 0).mean() > 0.2
    assert (np.asarray(used["first"]) != 0).all()
    assert np.asarray(used["drift"]).max() == 0


def test_weights_of_the_losses():
    objective = small(loss__contrast=3.0, loss__views=0.5)
    run = jax.jit(objective.loss, static_argnums=3)
    loss, metrics = run(params_of(objective), WHOLE, KEY, False)
    assert float(loss) == pytest.approx(
        3 * float(metrics["loss_contrast"]) + 0.5 * float(metrics["loss_views"]), rel=1e-6
    )


def test_running_statistics_change_no_loss_and_only_follow():
    objective = small()
    params = params_of(objective)
    other = dict(params) | {"head": jax.tree.map(lambda x: x, params["head"])}
    norm = other["head"]["projector"]["hidden_norm"] = dict(other["head"]["projector"]["hidden_norm"])
    norm["mean"] = norm["mean"] + 5
    run = jax.jit(jax.value_and_grad(lambda p: objective.loss(p, WHOLE, KEY, True)[0]))
    (one, _), (two, gradient) = run(params), run(other)
    assert float(one) == pytest.approx(float(two), rel=1e-6)
    tx = optimizer(config_of().optimizer, 10, objective.role)
    updates, _ = tx.update(gradient, tx.init(other), other)
    step = np.asarray(updates["head"]["projector"]["hidden_norm"]["mean"])
    # A tenth of the way, whatever the learning rate, the clipping and the weight decay.
    np.testing.assert_allclose(step, -0.1 * gradient["head"]["projector"]["hidden_norm"]["mean"], rtol=1e-5)
    assert np.abs(step).min() > 0.3


def test_the_same_loss_and_gradient_on_any_devices():
    objective, results = small(), []
    params = params_of(objective)
    batch = jax.tree.map(jnp.asarray, random_batch(8))
    for devices in (1, 4):
        mesh = mesh_of(devices)
        there = sharding.to_device(jax.tree.map(np.asarray, batch), mesh)
        run = jax.jit(lambda p, b, mesh=mesh: accumulation.loss_and_gradient(objective, p, b, KEY, 1, mesh))
        (loss, metrics), gradient = run(jax.device_put(params, sharding.replicated(mesh)), there)
        results.append(jax.device_get((loss, metrics["masks"], gradient)))
    assert results[0][1] == results[1][1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), *results)


@pytest.mark.parametrize("encoder", ["resnet18", "vit"])
def test_remat_is_the_same_and_computes_twice(encoder):
    plain, again = small(encoder), small(encoder, train__remat=True)
    params = jax.eval_shape(plain.init, KEY, BATCH)
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(again.init, KEY, BATCH))
    count = [
        flops.count(jax.make_jaxpr(jax.grad(lambda p, one=one: one.loss(p, WHOLE, KEY, True)[0]))(params))
        for one in (plain, again)
    ]
    assert 1.2 < count[1] / count[0] < 1.4
    if encoder == "vit":  # a ResNet takes long to compile
        given = params_of(plain)
        one, two = (jax.jit(jax.grad(lambda p, o=o: o.loss(p, WHOLE, KEY, True)[0]))(given) for o in (plain, again))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one, two)


def test_a_text_encoder_may_learn_along():
    objective = small(texts=trained_texts())
    params = params_of(objective)
    roles = _roles(objective, params)
    assert set(jax.tree.leaves(roles["text"]["lower"])) == {FROZEN}
    assert set(jax.tree.leaves(roles["text"]["upper"])) == {TRAINED}
    assert roles["head"]["projector"]["out_norm"] == {
        "mean": RUNNING,
        "variance": RUNNING,
        "scale": TRAINED,
        "bias": TRAINED,
    }
    gradient = jax.jit(jax.grad(lambda p: objective.loss(p, WHOLE, KEY, True)[0]))(params)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient["text"]["upper"])) > 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.encoder", "resnet19", "vit, resnet18, resnet34, resnet50, resnet101"),
        ("model.heads", 3, "model.heads=3 does not divide the width 128"),
        ("model.depth", 0, "model.depth=0 is not 1 or more"),
        ("model.projection", 0, "an encoder without heads"),
        ("data.tokenization", "joint", "an ablation of K-MERL"),
        ("loss.view_dropout", 1.0, "a share from 0 to below 1"),
        ("train.microbatches", 2, "cannot be taken in parts"),
        ("method", "clip", "kmerl, merl"),
    ],
)
def test_what_cannot_be(field, value, message):
    config = config_of()
    check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        check(config)


def test_describing_is_by_cosine():
    objective = small()
    params = params_of(objective)
    texts = jnp.asarray(np.random.default_rng(5).normal(size=(3, WIDTH)), jnp.float32)
    bag = tokens.formed(
        tokens.all_tokens(*(WHOLE[n] for n in ("signal", "presence", "segments")), (1,)), objective.form
    )
    model = objective.model
    out = model.apply({"params": params}, bag, texts, method="describe")
    projected = model.apply({"params": params}, texts, method="project_text")
    unit = [np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True) for x in (out["ecg"], projected)]
    np.testing.assert_allclose(out["logits"], unit[0] @ unit[1].T, atol=1e-5)
    again = model.apply({"params": params}, bag, method="embedded")
    np.testing.assert_array_equal(out["pooled"], again["pooled"])
    assert isinstance(objective.texts, FrozenTexts)
