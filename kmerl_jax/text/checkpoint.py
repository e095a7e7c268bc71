"""Reading a BERT checkpoint of the Hugging Face form: a folder with config.json, weights and the tokenizer's files."""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.models.bert import ACTIVATIONS, Bert, BertSizes

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = ("config.json", *WEIGHTS, "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

# Modules here and in a checkpoint; those of a layer stand behind "encoder.layer.N.".
_MODULES = {
    "embeddings/word": "embeddings.word_embeddings",
    "embeddings/position": "embeddings.position_embeddings",
    "embeddings/type": "embeddings.token_type_embeddings",
    "embeddings/norm": "embeddings.LayerNorm",
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "mlp_norm": "output.LayerNorm",
    "pooler": "pooler.dense",
}
# What a file may hold beside the encoder: heads of pretraining, a pooler that is not asked for, and (in old files) the
# numbers 0, 1, 2, ...
_LEFT_ASIDE = re.compile(r"cls\.|pooler\.|embeddings\.position_ids$")


def locate(name: str) -> Path:
    """The folder of a checkpoint: `name` itself if it is a folder, or else a Hub id, downloaded if it must be.

    Of the weights one file is fetched: model.safetensors, or the pickle where that is all there is.

    Raises:
        ValueError: neither a folder nor a Hub id, or it is not in the Hub's cache and cannot be downloaded.
    """
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(
            f"text encoder {name!r} is no folder, no Hub id like ncbi/MedCPT-Query-Encoder, and not lexical"
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    small = [file for file in FILES if file not in WEIGHTS]
    try:
        for weights in WEIGHTS:
            folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=[*small, weights]))
            if (folder / weights).is_file():
                return folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = type(error).__name__
        raise ValueError(
            f"text encoder {name!r} is not in the Hugging Face cache and cannot be downloaded ({reason}). Download "
            f"{', '.join((*small[:2], WEIGHTS[0]))} from https://huggingface.co/{name} into a folder and name that "
            "folder in its place. To train without a download there is text.encoder=lexical, which knows spelling only"
        ) from error
    raise ValueError(f"{name} on the Hugging Face Hub has neither {' nor '.join(WEIGHTS)}")


def read_sizes(folder: Path) -> BertSizes:
    """The sizes that `config.json` gives.

    Raises:
        ValueError: it is missing or damaged, or describes something other than a BERT encoder.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json; a folder of a BERT checkpoint has one beside its weights")
    try:
        config = json.loads(path.read_text("utf-8"))
        sizes = BertSizes(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            depth=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            mlp_width=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            types=config.get("type_vocab_size", 2),
            activation=config.get("hidden_act", "gelu"),
            epsilon=config.get("layer_norm_eps", 1e-12),
        )
    except KeyError as error:
        raise ValueError(f"{path} does not say {error.args[0]!r}: not the config of a BERT") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    for field, expected in (("model_type", "bert"), ("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(field, expected) != expected:
            raise ValueError(f"{path}: {field} is {config[field]!r}; only BERT encoders with {expected!r} are read")
    if sizes.activation not in ACTIVATIONS:
        raise ValueError(f"{path}: hidden_act is {sizes.activation!r}; known are {', '.join(ACTIVATIONS)}")
    if sizes.width % sizes.heads:
        raise ValueError(f"{path}: {sizes.heads} heads do not divide a width of {sizes.width}")
    return sizes


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of `model.safetensors`, or of `pytorch_model.bin`, as float32 by name.

    Raises:
        ValueError: neither file is there, or it cannot be read.
    """
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.is_file():
        from safetensors import SafetensorError
        from safetensors.flax import load_file

        try:
            tensors = load_file(safe)  # the NumPy reader of safetensors has no bfloat16
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{safe} cannot be read ({error}); download it again") from error
        return {name: np.asarray(x, np.float32) for name, x in tensors.items()}
    if pickled.is_file():
        return read_pickle(pickled)
    raise ValueError(f"{folder} has neither model.safetensors nor pytorch_model.bin")


def read_pickle(path: Path) -> dict[str, np.ndarray]:
    """All tensors that PyTorch saved in a file, by name, read with `weights_only=True`; of any precision as float32.

    Of a training checkpoint they are the model's ("model_state_dict"), without the prefix of one on several devices.

    Raises:
        ValueError: PyTorch is not here, or the file holds anything but named tensors of finite numbers.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(f"{path} needs PyTorch to be read: pip install torch (its CPU build is enough)") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # of files that PyTorch did not write: the error says it
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling errors are of many kinds
        # What PyTorch says is of its own insides, or how to run what is in the file: no advice of ours.
        reason = error.strerror if isinstance(error, OSError) else ""
        reason = reason or "it is damaged, is no file of PyTorch, or holds more than tensors"
        raise ValueError(f"{path} cannot be read as weights alone: {reason}") from error
    if isinstance(held, dict):
        held = held.get("model_state_dict", held)
    if not isinstance(held, dict) or not held:
        raise ValueError(f"{path} holds no named tensors")
    tensors = {}
    for name, x in held.items():
        if (
            not isinstance(name, str)
            or not isinstance(x, torch.Tensor)
            or x.is_complex()
            or x.layout is not torch.strided
        ):
            raise ValueError(f"{path} holds {name!r}, which is no tensor of weights")
        if not x.isfinite().all():
            raise ValueError(f"{path}: {name!r} holds numbers that are not finite")
        tensors[re.sub(r"(^|\.)module\.", r"\1", name, count=1)] = (x.float() if x.is_floating_point() else x).numpy()
    return tensors


def convert(weights: Mapping[str, np.ndarray], bert: Bert) -> dict:
    """The parameters of a `Bert` from the tensors of a checkpoint.

    Names may begin with "bert."; layer norms may call their tensors gamma and beta, as the first checkpoints did.

    Args:
        weights: tensors by name.
        bert: the module, which says what it needs.

    Raises:
        ValueError: a tensor is missing, is left over or has another shape; the message names it.
    """
    given = {}
    for name, x in weights.items():
        name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        given[name.replace("LayerNorm.beta", "LayerNorm.bias")] = x
    first_upper = bert.sizes.depth - bert.trainable_layers
    unused = {name for name in given if not _LEFT_ASIDE.match(name)}

    def take(name: str, transposed: bool, shape: tuple[int, ...]) -> np.ndarray:
        if name not in given:
            raise ValueError(f"the checkpoint has no weight {name!r}")
        x = given[name].T if transposed else given[name]
        if x.shape != shape:
            expected = shape[::-1] if transposed else shape
            raise ValueError(f"weight {name!r} is of shape {given[name].shape}; config.json says {expected}")
        unused.discard(name)
        return x

    def source(path, needed: jax.ShapeDtypeStruct) -> np.ndarray:
        *modules, kind = (key.key for key in path)
        tensor, transposed = "bias" if kind == "bias" else "weight", kind == "kernel"
        if modules[0] not in ("lower", "upper"):
            return take(f"{_MODULES['/'.join(modules)]}.{tensor}", transposed, needed.shape)
        module = _MODULES["/".join(modules[1:])]
        numbers = range(first_upper) if modules[0] == "lower" else range(first_upper, bert.sizes.depth)
        layers = [take(f"encoder.layer.{n}.{module}.{tensor}", transposed, needed.shape[1:]) for n in numbers]
        return np.stack(layers)

    params = jax.tree_util.tree_map_with_path(source, shapes(bert))
    if unused:
        more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        raise ValueError(f"weight {min(unused)!r}{more} of the checkpoint has no place in {bert.sizes}")
    return params


def shapes(bert: Bert) -> dict:
    """Shapes of a `Bert`'s parameters."""
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    valid = jax.ShapeDtypeStruct((1, 1), bool)
    return jax.eval_shape(bert.init, jax.random.key(0), ids, valid)["params"]
