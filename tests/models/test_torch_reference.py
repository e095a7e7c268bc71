"""The Flax model and its training step against PyTorch, which is also what the benchmark races."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.models import masking, tokens
from kmerl_jax.training.optimizer import optimizer
from kmerl_jax.training.stream import Examples, Stream
from tests.training.batches import KEY, frozen_texts, random_batch, random_like, small_config, small_objective

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests import torch_reference as reference  # noqa: E402
from tests.torch_reference.loader import Records  # noqa: E402

torch.set_num_threads(1)  # what is so small is slowed by threads, and tests run side by side

SIZES = [
    {"model__lead_gain": 0.0, "model__depth": 2, "model__query_depth": 2, "model__query_heads": 4},
    {
        "masking__max_leads": 3,
        "model__lead_gain": 0.7,
        "model__mlp_ratio": 2,
        "model__query_mlp_ratio": 3,
        "model__query_width": 24,
        "model__projection": 6,
        "model__query_self_attention": True,
    },
]
BATCH, TEXTS = random_batch(9), frozen_texts()


def pair(layout="grouped", **fields):
    """Our objective, its parameters, and PyTorch's with the same."""
    ours = small_objective(TEXTS, **fields)
    params = random_like(jax.eval_shape(ours.init, KEY, BATCH))
    theirs = reference.KMerlObjective(small_config(**fields), TEXTS.names, layout)
    reference.load_flax(theirs.model, params)
    return ours, params, theirs


def loss_of(objective):
    batch = jax.tree.map(jnp.asarray, BATCH)
    return lambda params: objective.loss(params, batch, KEY, True)[0]


def drawn(objective):
    return reference.to_device(reference.draw(BATCH, KEY, objective.rules))


@pytest.mark.parametrize("fields", SIZES)
def test_what_the_model_says(fields):
    ours, params, theirs = pair(**fields)

    @jax.jit
    def say(params):
        bag = tokens.all_tokens(BATCH["signal"], jnp.asarray(BATCH["presence"]), BATCH["segments"], (0, 1, 7))
        bag = tokens.normalize(bag, "mv")
        out = ours.model.apply({"params": params}, bag, TEXTS.names, method="describe")
        out |= ours.model.apply({"params": params}, bag, BATCH["text"], TEXTS.names)
        return bag, out, ours.model.encoder.apply({"params": params["encoder"]}, bag)

    bag, expected, features = say(params)
    same = reference.Tokens(*(torch.tensor(np.asarray(x)) for x in (bag.values, bag.lead, bag.segment, bag.valid)))
    with torch.no_grad():
        out = theirs.model.describe(same, theirs.queries)
        out |= theirs.model(same, torch.tensor(BATCH["text"]), theirs.queries)
        encoded = theirs.model.encoder(same)
    assert 0 < bag.valid.mean() < 1
    np.testing.assert_allclose(encoded[same.valid], features[bag.valid], atol=1e-5)
    assert out.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(out[name], value, atol=1e-5, err_msg=name)


def test_all_tokens_of_whole_ecgs_need_no_mask():
    leads, everything = (7, 0), (np.ones((9, 12), bool), np.full(9, 50, np.int32))
    ours = tokens.normalize(tokens.all_tokens(jnp.asarray(BATCH["signal"]), *everything, leads), "mv")
    bag = reference.all_tokens(torch.tensor(BATCH["signal"]), leads)
    for name in ("values", "lead", "segment"):
        np.testing.assert_allclose(getattr(bag, name), getattr(ours, name), rtol=1e-6)
    *_, theirs = pair(**SIZES[0])
    with torch.no_grad():
        free = theirs.model.describe(bag, theirs.queries)
        masked = theirs.model.describe(bag._replace(valid=torch.ones(9, 100, dtype=torch.bool)), theirs.queries)
    for name, value in free.items():
        np.testing.assert_allclose(masked[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("fields", SIZES)
def test_loss_and_gradients_in_both_layouts(fields):
    ours, params, theirs = pair(**fields)
    loss, gradient = jax.jit(jax.value_and_grad(loss_of(ours)))(params)
    gradient = reference.from_flax(gradient)
    largest = max(x.abs().max() for x in gradient.values())
    for layout in reference.LAYOUTS:
        theirs.layout = layout
        theirs.zero_grad()
        value = theirs(drawn(theirs))
        value.backward()
        assert value.item() == pytest.approx(float(loss), rel=1e-5)
        named = dict(theirs.model.named_parameters())
        assert named.keys() == gradient.keys()
        for name, parameter in named.items():
            np.testing.assert_allclose(parameter.grad, gradient[name], atol=1e-5 * largest, err_msg=name)


def test_without_duplicates_and_with_other_weights():
    fields = {"loss__duplicates": False, "loss__contrast": 0.3, "loss__entities": 7.0, "loss__temperature": 0.2}
    ours, params, theirs = pair("padded", **fields)
    loss = jax.jit(loss_of(ours))(params)
    assert theirs(drawn(theirs)).item() == pytest.approx(float(loss), rel=1e-5)


def test_updates_are_those_of_optax():
    recipe = {"optimizer__name": "adamw", "optimizer__warmup_steps": 0, "optimizer__weight_decay": 0.1}
    config, (*_, theirs) = small_config(**recipe).optimizer, pair()
    trainer, batch = reference.Trainer(theirs, config), drawn(theirs)
    tx = optimizer(config, steps=10**9)  # so long that the rate stays as it is
    update = jax.jit(tx.update)

    def arrays(of):
        return {name: of(x).detach().numpy().copy() for name, x in theirs.named_parameters()}

    params = arrays(lambda x: x)
    state = tx.init(params)
    for _ in range(3):
        # Of the gradient that PyTorch has: Adam makes a step of full length of what is only rounding, too.
        trainer.loss(batch).backward()
        gradient = arrays(lambda x: x.grad)
        theirs.zero_grad()
        assert optax.tree.norm(gradient) > 2 * config.clip
        trainer.step(batch)
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        for name, value in arrays(lambda x: x).items():
            np.testing.assert_allclose(value, params[name], rtol=1e-6, atol=1e-4 * config.learning_rate, err_msg=name)


def test_bfloat16_is_close():
    *_, theirs = pair(**SIZES[0])
    config, batch = small_config().optimizer, drawn(theirs)
    exact, rough = (
        reference.Trainer(theirs, config, dtype=x).loss(batch).item() for x in (torch.float32, torch.bfloat16)
    )
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value"), [("data__normalization", "zscore"), ("loss__direction", "e2t"), ("layout", "ragged")]
)
def test_what_is_not_written(field, value):
    with pytest.raises(ValueError, match="only mv tokens"):
        pair(**{field: value})


def merl(bert=True):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    bert = transformers.BertConfig(**sizes, vocab_size=60) if bert else None
    batch = {
        "signal": torch.tensor(BATCH["signal"]),
        "text_tokens": torch.randint(60, (9, 256)),
        "text_valid": torch.arange(256) < torch.randint(5, 60, (9, 1)),
        "text": torch.randn(9, 768),
    }
    return reference.MerlObjective(small_config(model__projection=16).model, bert), batch


def test_merl_shapes_and_views():
    objective, batch = merl(bert=False)
    signal = batch["signal"].float() / 1000
    with torch.no_grad():
        once, again = (objective.model.train()(signal, batch["text"]) for _ in range(2))
        plain, same = (objective.model.eval()(signal, batch["text"]) for _ in range(2))
    assert {name: tuple(x.shape) for name, x in once.items()} == dict.fromkeys(
        ("ecg", "first", "second", "text"), (9, 16)
    )
    assert not torch.equal(once["first"], once["second"])
    for name in ("first", "second"):
        dropped = (once[name] == 0).float().mean().item()
        assert 0.05 < dropped < 0.15
        assert not torch.equal(once[name], again[name])
        assert torch.equal(plain[name], same[name])


@pytest.mark.parametrize("bert", [True, False])
def test_merl_learns_and_its_bert_does_not(bert):
    objective, batch = merl(bert)
    trainer = reference.Trainer(objective, small_config(optimizer__learning_rate=3e-3).optimizer)
    frozen = {name: x.clone() for name, x in objective.state_dict().items() if name.startswith("model.lm_model.")}
    losses = [trainer.step(batch).item() for _ in range(12)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 1
    assert bool(frozen) == bert
    for name, value in frozen.items():
        assert torch.equal(objective.state_dict()[name], value)


def test_merl_with_cached_texts_is_the_same():
    objective, batch = merl()
    trainer = reference.Trainer(objective, small_config().optimizer)
    objective.model.eval()  # without dropout
    published = trainer.loss(batch)
    text = objective.model.lm_model(batch["text_tokens"], batch["text_valid"]).pooler_output
    padding = {"text_tokens": torch.where(batch["text_valid"], batch["text_tokens"], 7)}
    assert torch.allclose(trainer.loss(batch | padding), published, atol=1e-5)
    objective.model.lm_model = None
    assert torch.equal(trainer.loss({"signal": batch["signal"], "text": text}), published)


@pytest.fixture(scope="module")
def examples(demo_store):
    store, rng = Store(demo_store), np.random.default_rng(0)
    rows = store.rows("train")[::2]
    texts = {"text": rng.normal(size=(7, 4)).astype(np.float32)}
    labels = rng.integers(-1, 2, (len(rows), 3)).astype(np.int8)
    return Examples(store.entries, rows, texts, rng.integers(7, size=len(rows)).astype(np.int32), labels)


def test_the_loader_gives_the_records_of_the_store(examples, tmp_path):
    folder = reference.write_arrays(examples, tmp_path / "arrays")
    read, size = reference.batches(folder, 8, seed=1), len(examples.rows)
    passes = [[next(read) for _ in range(size // 8)] for _ in range(2)]
    for batches in passes:
        entries = np.concatenate([batch["entry"] for batch in batches])
        assert len(set(entries)) == len(entries) > size - 8
    assert not torch.equal(passes[0][0]["entry"], passes[1][0]["entry"])
    assert next(reference.batches(folder, 8, seed=1))["entry"].tolist() == passes[0][0]["entry"].tolist()

    ours = next(iter(Stream(examples, 8, seed=0)))
    for n, batch in enumerate(passes[0] + passes[1]):
        assert batch["index"].tolist() == list(range(8 * n, 8 * n + 8))
        for name in ours.keys() - {"first", "unreadable", "index"}:
            assert (batch[name].shape, batch[name].numpy().dtype) == (ours[name].shape, ours[name].dtype), name
        for place, entry in enumerate(batch["entry"].tolist()):
            window, row = examples.entries[entry], examples.rows.tolist().index(entry)
            expected = {"signal": window.signal, "presence": window.presence, "segments": window.segments}
            expected |= examples.describe(np.array([row]))
            for name, value in expected.items():
                np.testing.assert_array_equal(batch[name][place], np.reshape(value, batch[name][place].shape))


def test_item_by_item_gives_the_same_batches(examples, tmp_path):
    done = []
    folder = reference.write_arrays(examples, tmp_path / "arrays", lambda *progress: done.append(progress))
    assert done[-1] == (len(examples.rows), len(examples.rows))
    whole, single = (reference.batches(folder, 9, seed=2, whole=whole) for whole in (True, False))
    for _ in range(2 * (len(examples.rows) // 9)):
        batch, other = next(whole), next(single)
        assert batch.keys() == other.keys()
        for name, value in batch.items():
            assert value.dtype == other[name].dtype, name
            assert torch.equal(value, other[name]), name


def test_what_the_loader_gives_can_be_shown(examples, tmp_path):
    folder = reference.write_arrays(examples, tmp_path / "arrays")
    batch = next(reference.batches(folder, 9))
    rules = small_objective(TEXTS).masking
    drawn = reference.to_device(reference.draw(batch, KEY, rules))
    arrays = (batch[name].numpy() for name in ("index", "presence", "segments"))
    expected = masking.draw(jax.random.split(KEY)[0], *arrays, rules)
    for name, value in zip(("lead", "token_segment", "valid"), expected, strict=True):
        np.testing.assert_array_equal(drawn[name], value)


def test_a_worker_is_sent_a_name_and_not_the_records(examples, tmp_path):
    records = Records(reference.write_arrays(examples, tmp_path / "arrays"))
    first = records[[0, 1]]["signal"]
    sent = pickle.dumps(records)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)[[0, 1]]["signal"], first)


def test_fewer_records_than_a_batch(examples, tmp_path):
    folder = reference.write_arrays(examples, tmp_path / "arrays")
    with pytest.raises(ValueError, match="less than a batch of 1000"):
        next(reference.batches(folder, 1000))
