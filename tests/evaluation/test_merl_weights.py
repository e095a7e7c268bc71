"""The published weights of MERL: our model of them says what a PyTorch model of the same layout says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.evaluation import merl_weights
from kmerl_jax.models import tokens
from kmerl_jax.training import methods

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.torch_reference.merl import Merl, ResNet, Vit  # noqa: E402

torch.set_num_threads(1)
RNG = np.random.default_rng(0)
SIGNAL, TEXT = RNG.normal(size=(2, 12, 5000)).astype(np.float32), RNG.normal(size=(3, 24)).astype(np.float32)
IN_MIMIC = SIGNAL[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]]  # I II III aVR aVF aVL V1-V6, which the published models take
ENCODERS = {
    "resnet18": lambda: ResNet("resnet18"),
    "resnet50": lambda: ResNet("resnet50"),
    "vit": lambda: Vit(128, depth=2),
}


def published(name, seed=0):
    """A model with random weights and statistics, as its authors' code would save it."""
    torch.manual_seed(seed)
    model = Merl(ENCODERS[name](), text=TEXT.shape[1], projection=32).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    return model


def save(state, folder, name="random_ckpt.pth"):
    torch.save(state, folder / name)
    return folder / name


def bag():
    """The whole signal as tokens that are normalised already."""
    everything = jnp.ones((2, 12), bool), jnp.full(2, 50, jnp.int32), range(12)
    return tokens.all_tokens(jnp.asarray(SIGNAL) * 1000, *everything)


def imported(path):
    tensors = merl_weights.read(path)
    config = merl_weights.config_of(tensors, "somewhere")
    return config, merl_weights.convert(tensors, config)


@pytest.mark.parametrize("name", ENCODERS)
def test_values_are_those_of_the_published_model(name, tmp_path):
    theirs = published(name)
    config, params = imported(save(theirs.state_dict(), tmp_path))
    assert (config.method, config.model.encoder, config.data.normalization) == ("merl", name, "minmax")
    model = methods.build_model(config)
    out = jax.jit(lambda p: model.apply({"params": p}, bag(), jnp.asarray(TEXT), method="describe"))(params)
    text = model.apply({"params": params}, jnp.asarray(TEXT), method="project_text")
    with torch.no_grad():
        expected = theirs(torch.tensor(IN_MIMIC), torch.tensor(TEXT))
        features = theirs.ecg_encoder(torch.tensor(IN_MIMIC))
        pooled = features.mean(2) if features.ndim == 3 else features
        unit = [x / x.norm(dim=1, keepdim=True) for x in (expected["ecg"], expected["text"])]
    np.testing.assert_allclose(out["ecg"], expected["ecg"], atol=1e-5)
    np.testing.assert_allclose(text, expected["text"], atol=1e-5)
    np.testing.assert_allclose(out["pooled"], pooled, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(out["logits"], unit[0] @ unit[1].T, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_alone_has_no_heads_and_the_same_features(name, tmp_path):
    theirs = published(name)
    config, params = imported(save(theirs.ecg_encoder.state_dict(), tmp_path, "random_encoder.pth"))
    model = methods.build_model(config)
    assert (config.model.projection, model.scores, set(params)) == (0, (), {"encoder"})
    pooled = model.apply({"params": params}, bag(), method="pooled")
    with torch.no_grad():
        features = theirs.ecg_encoder(torch.tensor(IN_MIMIC))
    np.testing.assert_allclose(pooled, features.mean(2) if features.ndim == 3 else features, atol=1e-5, rtol=1e-5)


def test_an_encoder_alone_cannot_be_trained(tmp_path):
    config, _ = imported(save(published("vit").ecg_encoder.state_dict(), tmp_path))
    with pytest.raises(ValueError, match=r"model\.projection=0 is an encoder without heads"):
        methods.check(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("downconv.bias"), "has no 'downconv.bias'"),
        (lambda state: state.pop("linear1.weight"), "and no 'linear1.weight', which a"),
        (lambda state: state.update(more=torch.zeros(2)), "'more' of the checkpoint has no place"),
        (lambda state: state.update({"linear1.weight": torch.zeros(32, 7)}), r"views_0.kernel is of shape \(7, 32\)"),
        (lambda state: state["ecg_encoder.bn1.running_var"].neg_(), "norm.variance of the checkpoint is below 0"),
        (lambda state: state.pop("ecg_encoder.layer3.1.conv1.weight"), "none of MERL's encoders"),
        (lambda state: state.update({"downconv.bias": torch.zeros(32, dtype=torch.int64)}), "is no array of weights"),
        (lambda state: state.update({"downconv.bias": torch.zeros(())}), "is no array of weights"),
        (
            lambda state: state.update({"proj_t.0.weight": torch.zeros(())}),
            "'proj_t.0.weight' of the checkpoint is",
        ),
    ],
)
def test_every_tensor_must_find_its_place(change, message, tmp_path):
    state = published("resnet18").state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        imported(save(state, tmp_path))


def test_a_training_checkpoint_of_several_devices(tmp_path):
    state = published("vit").state_dict()
    alone = merl_weights.read(save(state, tmp_path))
    whole = {"epoch": 3, "model_state_dict": {f"module.{name}": x for name, x in state.items()}}
    again = merl_weights.read(save(whole, tmp_path))
    assert set(again) == set(alone)
    assert all(np.array_equal(again[name], x) for name, x in alone.items())


class Harmful:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ecg_encoder.conv1.weight": Harmful()}, "it is damaged, is no file of PyTorch, or holds more than tensors"),
        ([1, 2], "holds no named tensors"),
        ({}, "holds no named tensors"),
        ({"a": 1}, "'a', which is no tensor of weights"),
        ({1: torch.zeros(2)}, "1, which is no tensor of weights"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "'a', which is no tensor of weights"),
        ({"a": torch.eye(2).to_sparse()}, "'a', which is no tensor of weights"),
        ({"a": torch.tensor([0.0, float("nan")])}, "'a' holds numbers that are not finite"),
    ],
)
def test_only_weights_are_read(content, message, tmp_path, capsys):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        merl_weights.read(tmp_path / "x.pth")
    assert "harm" not in capsys.readouterr().out


def test_a_file_that_is_not_there_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"names a \*_ckpt\.pth"):
        merl_weights.read(tmp_path / "none.pth")
    (tmp_path / "cut.pth").write_bytes(save(published("vit").state_dict(), tmp_path).read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read as weights alone"):
        merl_weights.read(tmp_path / "cut.pth")
