"""The published weights of MERL (github.com/cheliu-computation/MERL-ICML2024), as a model of this package.

*_ckpt.pth is the whole model with its text encoder, *_encoder.pth the ECG encoder alone. What is in them is read as
tensors and nothing else, and every tensor must find its place.

They were trained on leads as MIMIC-IV-ECG's headers have them, aVF before aVL; the published finetune_dataset.py
exchanges the two in all other data. Here it is the weights that are put into the order of all leads.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
from ml_collections import ConfigDict

from kmerl_jax.config import base, merl
from kmerl_jax.evaluation import release
from kmerl_jax.evaluation.pretrained import checksum_of
from kmerl_jax.models import resnet
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.text import checkpoint
from kmerl_jax.text.bert import BertEncoder
from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.training import methods

ENCODER, TEXT = "ecg_encoder.", "lm_model."
_HEAD = 64  # width of a head of the published ViTs
# Counters of batch normalisation, and a layer of the ResNets that their forward pass does not reach.
_UNUSED = re.compile(r"(.*\.num_batches_tracked|ecg_encoder\.linear\.(weight|bias))$")

_BLOCK = r"encoder\.stage(\d)_block(\d+)"
_LAYER = r"encoder\.layers\.(\d+)"
_JOINT = "(query|key|value)"  # one matrix there
_MODULES = {
    r"encoder\.stem\.convolution": "ecg_encoder.conv1",
    r"encoder\.stem\.norm": "ecg_encoder.bn1",
    _BLOCK + r"\.layer(\d)\.convolution": r"ecg_encoder.layer\1.\2.conv\3",
    _BLOCK + r"\.layer(\d)\.norm": r"ecg_encoder.layer\1.\2.bn\3",
    _BLOCK + r"\.shortcut\.convolution": r"ecg_encoder.layer\1.\2.shortcut.0",
    _BLOCK + r"\.shortcut\.norm": r"ecg_encoder.layer\1.\2.shortcut.1",
    r"encoder\.projection": "ecg_encoder.to_patch_embedding",
    _LAYER + r"\.attention_norm": r"ecg_encoder.block\1.attn.norm",
    _LAYER + r"\.attention\." + _JOINT: r"ecg_encoder.block\1.attn.fn.to_qkv",
    _LAYER + r"\.attention\.out": r"ecg_encoder.block\1.attn.fn.to_out.0",
    _LAYER + r"\.mlp_norm": r"ecg_encoder.block\1.ff.norm",
    _LAYER + r"\.up": r"ecg_encoder.block\1.ff.fn.net.0",
    _LAYER + r"\.down": r"ecg_encoder.block\1.ff.fn.net.3",
    r"encoder\.norm": "ecg_encoder.norm",
    r"head\.narrow": "downconv",
    r"head\.pool\.attention\." + _JOINT: "att_pool_head.mhsa.in_proj",
    r"head\.pool\.attention\.out": "att_pool_head.mhsa.out_proj",
    r"head\.pool\.out": "att_pool_head.c_proj",
    r"head\.projector\.hidden": "proj_e.0",
    r"head\.projector\.hidden_norm": "proj_e.1",
    r"head\.projector\.out": "proj_e.3",
    r"head\.projector\.out_norm": "proj_e.4",
    r"views_0": "linear1",
    r"views_1": "linear2",
    r"text_projector\.hidden": "proj_t.0",
    r"text_projector\.out": "proj_t.2",
}
"""Our modules, as patterns, and theirs."""
_ARRAYS = {
    "encoder.position": "ecg_encoder.pos_embedding",
    "head.pool.token": "att_pool_head.cls_token",
    "head.pool.position": "att_pool_head.positional_embedding",
}
_OF_LEADS = ("encoder.stem.convolution", "encoder.projection")
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order of the leads that the published weights take."""
_KINDS = {"bias": "bias", "mean": "running_mean", "variance": "running_var"}  # all others are "weight"


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, by their published names; those of an encoder alone as in the whole model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: PyTorch is not here, or the file holds anything but named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; --checkpoint names a *_ckpt.pth or *_encoder.pth of MERL")
    tensors = checkpoint.read_pickle(path)
    if not any(name.startswith(ENCODER) for name in tensors):
        tensors = {ENCODER + name: x for name, x in tensors.items()}
    return tensors


def config_of(tensors: Mapping[str, np.ndarray], text_encoder: str) -> ConfigDict:
    """The config of the model that tensors are of: it is shown ECGs and texts as in its published pretraining.

    Of that pretraining's optimiser and schedule it says nothing: these fields are a recipe's of ours.

    Args:
        tensors: of `read`.
        text_encoder: a folder or an id of the Hugging Face Hub.

    Raises:
        ValueError: they are of no encoder that is known, or heads without the first of them.
    """
    config = merl(base("merl", "mimic"))
    config.data.normalization = "minmax"
    config.text.update(encoder=text_encoder, pooling="pooler")
    config.loss.duplicates = False
    config.model.projection = _rows(tensors, "linear1.weight")
    if not config.model.projection and (heads := [name for name in tensors if not name.startswith(ENCODER)]):
        raise ValueError(f"the checkpoint has {min(heads)!r} and no 'linear1.weight', which a *_ckpt.pth of MERL has")
    if width := _rows(tensors, f"{ENCODER}to_patch_embedding.weight"):
        depth = sum(name.endswith("attn.norm.weight") for name in tensors)
        config.model.update(encoder="vit", width=width, depth=depth, heads=width // _HEAD)
    else:
        config.model.encoder = _resnet(tensors)
    config.name = f"merl_{config.model.encoder}"
    return config


def convert(tensors: Mapping[str, np.ndarray], config: ConfigDict) -> dict:
    """The parameters of the model that a config describes, from tensors by their published names.

    Args:
        tensors: of `read`; those of the text encoder are left aside.
        config: of `config_of`.

    Raises:
        ValueError: a tensor is missing, has another shape, or has no place, or a variance is below 0; the message names
            it.
    """
    left = {name for name in tensors if not name.startswith(TEXT) and not _UNUSED.match(name)}
    for name in sorted(left):
        if tensors[name].dtype.kind != "f" or not tensors[name].ndim:
            raise ValueError(f"{name!r} of the checkpoint is no array of weights")
    model = methods.build_model(config)
    if config.model.projection and "proj_t.0.weight" not in tensors:
        raise ValueError("the checkpoint has no 'proj_t.0.weight', the projector of texts that MERL has")
    width = tensors["proj_t.0.weight"].shape[-1] if config.model.projection else 1
    shapes = jax.eval_shape(lambda: model.init_params(jax.random.key(0), methods.form(config), width))

    def take(name: str) -> np.ndarray:
        if name not in tensors:
            raise ValueError(f"the checkpoint has no {name!r}, which {config.model.encoder} of MERL has")
        left.discard(name)
        return tensors[name]

    params = {}
    for path, needed in release.flat(shapes).items():
        if "layers" in path:
            each = [path.replace("layers", f"layers.{n}") for n in range(config.model.depth)]
            x = np.stack([_tensor(one, take) for one in each])
        else:
            x = _tensor(path, take)
        if x.shape != needed.shape:
            raise ValueError(f"{path} is of shape {x.shape} in the checkpoint, and {needed.shape} in {config.name}")
        if path.endswith(".variance") and (x < 0).any():
            raise ValueError(f"{path} of the checkpoint is below 0, which no variance is")
        params[path] = np.ascontiguousarray(x, np.float32)
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise ValueError(f"{min(left)!r}{more} of the checkpoint has no place in {config.name}: it is not of MERL")
    return flax.traverse_util.unflatten_dict(params, sep=".")


def convert_text(tensors: Mapping[str, np.ndarray], encoder: TextEncoder) -> dict | None:
    """The parameters of the checkpoint's own text encoder; None if they are the given one's, to the last bit.

    Args:
        tensors: of `read`.
        encoder: a BERT of the same sizes.

    Raises:
        ValueError: a tensor is missing or left over, all are, or the projector of texts takes others.
    """
    wanted = tensors["proj_t.0.weight"].shape[1]
    if not isinstance(encoder, BertEncoder):
        raise ValueError(f"{encoder.name} is no BERT, which MERL's text encoder is: --text_encoder names it")
    if wanted != encoder.width:
        raise ValueError(
            f"the checkpoint takes texts as {wanted} numbers, {encoder.name} gives {encoder.width}: --text_encoder "
            "names the one that it was trained with"
        )
    own = {name.removeprefix(TEXT): x for name, x in tensors.items() if name.startswith(TEXT)}
    if not own:
        raise ValueError(f"the checkpoint has heads and no text encoder ({TEXT}*), which a *_ckpt.pth of MERL has")
    params = checkpoint.convert(own, encoder.bert)
    same = jax.tree.map(np.array_equal, params, encoder.weights)
    return None if all(jax.tree.leaves(same)) else params


def write(
    out: Path, source: Path, config: ConfigDict, params: dict, encoder: TextEncoder | None, names: list[str]
) -> None:
    """A folder like an exported model's; whole or not at all.

    Args:
        out: it must not be there.
        source: the file that was read.
        config: of `config_of`.
        params: of `convert`, and of a text encoder of its own under "text".
        encoder: reads names; None of an encoder alone.
        names: whose embeddings go with it.

    Raises:
        FileExistsError: `out` is there.
    """
    entities = {
        "cohort": "mimic_iv_ecg",
        "texts_from_labels": False,
        "entities": [],
        "superclasses": {},
        "positives": {},
        "text_encoder": encoder.fingerprint if encoder else None,
    }
    embeddings = encoder.embed(names) if encoder else np.zeros((0, 1), np.float32)
    about = {
        "step": 0,
        "checksum": checksum_of(params),
        "imported": {"file": source.name, "sha256": release.digest(source)},
    }
    release.write(
        out, params, config.to_dict(), about, entities, names, embeddings, [], _card(out.name, source, config)
    )


def _rows(tensors: Mapping[str, np.ndarray], name: str) -> int:
    """0 if there is no such tensor."""
    return tensors[name].shape[0] if name in tensors and tensors[name].ndim else 0


def _resnet(tensors: Mapping[str, np.ndarray]) -> str:
    bottleneck = f"{ENCODER}layer1.0.conv3.weight" in tensors
    blocks = tuple(
        sum(f"{ENCODER}layer{stage}.{n}.conv1.weight" in tensors for n in range(100)) for stage in range(1, 5)
    )
    for name, depths in resnet.DEPTHS.items():
        if depths == blocks and bottleneck == (name in resnet.BOTTLENECKS):
            return name
    raise ValueError(
        "the checkpoint is of none of MERL's encoders: a ViT, or a ResNet of 18, 34, 50 or 101 layers; "
        f"it holds {', '.join(sorted(tensors)[:3])}, ..."
    )


def _tensor(path: str, take: Callable[[str], np.ndarray]) -> np.ndarray:
    """What the published model has at a dotted path of ours, in our layout."""
    if path in _ARRAYS:
        return take(_ARRAYS[path])[0]
    module, _, kind = path.rpartition(".")
    pattern = next(pattern for pattern in _MODULES if re.fullmatch(pattern, module))
    theirs = re.sub(pattern, _MODULES[pattern], module)
    x = take(theirs + ("_" if theirs.endswith("in_proj") else ".") + _KINDS.get(kind, "weight"))
    if pattern.endswith(_JOINT):
        x = np.split(x, 3)[("query", "key", "value").index(module.rpartition(".")[2])]
    if kind != "kernel":
        return x
    if module in _OF_LEADS and x.shape[1:2] == (len(LEADS),):
        x = x[:, [LEADS.index(lead) for lead in STANDARD]]
    if module in ("encoder.projection", "head.narrow"):  # convolutions that are products of rows here
        x = x.reshape(len(x), -1)
    return x.T  # of a convolution: time, in, out


def _card(name: str, source: Path, config: ConfigDict) -> str:
    model = config.model
    encoder = f"a ViT of width {model.width}" if model.encoder == "vit" else model.encoder
    return f"""# {name}

The published weights of MERL (Liu et al. 2024, arXiv 2403.06659; github.com/cheliu-computation/MERL-ICML2024), file
{source.name}, converted by kmerl_jax: {encoder}. Whose they are, and under which licence, their repository
says. It was trained on MIMIC-IV-ECG with 12 leads, each record scaled by its minimum and maximum. The weights of aVF
and aVL are exchanged: as published they take the leads in the order of MIMIC-IV-ECG's headers, here in the usual one.

**For research only: not a medical device, and no basis for decisions about anyone's care.**
"""
