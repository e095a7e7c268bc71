"""Checkpoints as transformers writes them, read and compared with PyTorch's own BertModel."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from kmerl_jax.models.bert import Bert
from kmerl_jax.text import checkpoint
from tests.text.bert_folder import write_bert

IDS = np.random.default_rng(0).integers(5, 60, (4, 17))
VALID = np.arange(17)[None] < np.array([17, 9, 3, 1])[:, None]


def theirs(folder, dtype=torch.float32):
    """Hidden states of every layer, and the pooler's output, by PyTorch."""
    model = transformers.BertModel.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        out = model(torch.tensor(IDS), attention_mask=torch.tensor(VALID.astype(int)), output_hidden_states=True)
    return [x.float().numpy() for x in out.hidden_states], out.pooler_output.float().numpy()


def load(folder, pooling="mean", trainable_layers=0, dtype=jnp.float32):
    bert = Bert(checkpoint.read_sizes(folder), pooling, trainable_layers, dtype=dtype)
    return bert, checkpoint.convert(checkpoint.read_weights(folder), bert)


def apply(bert, params, ids=IDS, valid=VALID, **more):
    return np.asarray(bert.apply({"params": params}, ids, valid, **more))


def mean(x, valid=VALID):
    return (x * valid[..., None]).sum(1) / valid.sum(1, keepdims=True)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_every_layer_as_in_pytorch(tmp_path, activation):
    folder = write_bert(tmp_path, num_hidden_layers=3, hidden_act=activation, layer_norm_eps=1e-5, type_vocab_size=3)
    expected, _ = theirs(folder)
    weights, sizes = checkpoint.read_weights(folder), checkpoint.read_sizes(folder)
    for depth in range(4):
        bert = Bert(dataclasses.replace(sizes, depth=depth))
        shallow = {name: x for name, x in weights.items() if not name.startswith(tuple(beyond(depth)))}
        got = apply(bert, checkpoint.convert(shallow, bert), method="states")
        np.testing.assert_allclose(got[VALID], expected[depth][VALID], rtol=0, atol=1e-5)


def beyond(depth):
    return [f"encoder.layer.{n}." for n in range(depth, 9)]


@pytest.mark.parametrize("trainable", [0, 1, 2])
def test_poolings_as_in_pytorch(tmp_path, trainable):
    folder = write_bert(tmp_path)
    states, pooled = theirs(folder)
    for pooling, expected in (("mean", mean(states[-1])), ("cls", states[-1][:, 0]), ("pooler", pooled)):
        got = apply(*load(folder, pooling, trainable))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_padding_changes_nothing(tmp_path):
    bert, params = load(write_bert(tmp_path))
    for row in range(4):
        count = VALID[row].sum()
        alone = apply(bert, params, IDS[row : row + 1, :count], VALID[row : row + 1, :count])
        padded = apply(
            bert, params, np.pad(IDS[row : row + 1, :count], ((0, 0), (0, 40 - count))), np.arange(40)[None] < count
        )
        np.testing.assert_allclose(padded, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights(tmp_path, dtype):
    """Weights of half precision are read exactly; computing in bfloat16 stays near."""
    folder = write_bert(tmp_path, dtype)
    states, _ = theirs(folder)  # PyTorch widens the same weights to float32
    got = apply(*load(folder))
    np.testing.assert_allclose(got, mean(states[-1]), rtol=0, atol=1e-5)
    half = apply(*load(folder, dtype=jnp.bfloat16))
    assert 1e-5 < np.abs(half - got).max() < 0.1


def test_a_pickle_is_read_without_unpickling(tmp_path):
    folder = write_bert(tmp_path)
    expected = load(folder)[1]
    tensors = {name: torch.tensor(x) for name, x in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    jax.tree.map(np.testing.assert_array_equal, load(folder)[1], expected)

    class Evil:
        def __reduce__(self):
            return print, ("unpickled",)

    torch.save(tensors | {"evil": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read as weights alone"):
        load(folder)


def test_prefixes_old_names_and_heads_of_pretraining(tmp_path):
    """As in emilyalsentzer/Bio_ClinicalBERT: "bert." before every name, and the heads beside it."""
    folder = write_bert(tmp_path / "pretraining", model=transformers.BertForPreTraining)
    names = set(load_file(folder / "model.safetensors"))
    assert {"bert.embeddings.LayerNorm.weight", "cls.predictions.bias"} <= names
    model = transformers.BertForPreTraining.from_pretrained(folder)
    model.bert.save_pretrained(tmp_path / "plain")
    expected = load(tmp_path / "plain")[1]
    jax.tree.map(np.testing.assert_array_equal, load(folder)[1], expected)
    weights = checkpoint.read_weights(folder)
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): x for name, x in weights.items()
    }
    old["bert.embeddings.position_ids"] = np.arange(40)
    bert = Bert(checkpoint.read_sizes(folder))
    jax.tree.map(np.testing.assert_array_equal, checkpoint.convert(old, bert), expected)


def test_with_or_without_a_pooler(tmp_path):
    folder = write_bert(tmp_path)
    with_pooler = apply(*load(folder, "cls"))
    edit_weights(folder, remove=("pooler.dense.weight", "pooler.dense.bias"))
    np.testing.assert_array_equal(apply(*load(folder, "cls")), with_pooler)
    with pytest.raises(ValueError, match=r"no weight 'pooler\.dense\.(weight|bias)'"):
        load(folder, "pooler")


def edit_weights(folder, remove=(), **change):
    weights = load_file(folder / "model.safetensors")
    weights = {name: x for name, x in weights.items() if name not in remove}
    save_file(weights | {name.replace("__", "."): x for name, x in change.items()}, folder / "model.safetensors")


def test_a_weight_too_few_too_many_or_of_another_shape(tmp_path):
    query = "encoder.layer.1.attention.self.query.weight"
    folder = write_bert(tmp_path / "missing")
    edit_weights(folder, remove=(query,))
    with pytest.raises(ValueError, match=rf"no weight '{query}'"):
        load(folder)
    folder = write_bert(tmp_path / "unused")
    edit_weights(folder, classifier__weight=np.zeros((2, 32), np.float32))
    with pytest.raises(ValueError, match=r"weight 'classifier\.weight' of the checkpoint has no place"):
        load(folder)
    folder = write_bert(tmp_path / "shape")
    edit_weights(folder, encoder__layer__0__output__dense__weight=np.zeros((32, 47), np.float32))
    with pytest.raises(
        ValueError, match=r"'encoder\.layer\.0\.output\.dense\.weight' is of shape \(32, 47\).*\(32, 48\)"
    ):
        load(folder)
    folder = write_bert(tmp_path / "deep", num_hidden_layers=3)
    edit_config(folder, num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"'encoder\.layer\.2\.[\w.]+' and 15 more"):
        load(folder)


def edit_config(folder, **change):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"num_attention_heads": 5}, "5 heads do not divide a width of 32"),
        ({"is_decoder": True}, "is_decoder is True"),
    ],
)
def test_what_is_no_bert_encoder(tmp_path, change, said):
    folder = write_bert(tmp_path)
    edit_config(folder, **change)
    with pytest.raises(ValueError, match=said):
        checkpoint.read_sizes(folder)


def test_missing_and_damaged_files(tmp_path):
    folder = write_bert(tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        load(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="does not say 'vocab_size'"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        load(folder)
