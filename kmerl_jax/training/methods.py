"""The methods that `config.method` names, and what all of them share of a config.

A method is a module with `build_model`, `build_objective` and `UNREAD`. Its model has `scores`, `init_params`,
`describe`, `embedded` and `pooled`, and `project_text` if it can be asked by name: all that evaluation and prediction
ask for.
"""

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from kmerl_jax.config import base, check_numbers, check_sizes
from kmerl_jax.knowledge.queries import POSSIBLE
from kmerl_jax.models import masking, tokens
from kmerl_jax.models.bert import POOLINGS
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.merl import Merl
from kmerl_jax.models.simclr import SimClr
from kmerl_jax.signals.leads import parse_leads
from kmerl_jax.training import kmerl, losses, merl, simclr
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.optimizer import optimizer
from kmerl_jax.training.texts import FrozenTexts, Texts

METHODS = {"kmerl": kmerl, "merl": merl, "simclr": simclr}

Model = KMerl | Merl | SimClr

_WEIGHTS = ("loss.contrast", "loss.entities", "loss.views")
_OF_A_VIT = ("model.width", "model.depth", "model.heads", "model.mlp_ratio")


def build_model(config, remat: bool = False) -> Model:
    """The network that `config.method`, `config.model` and `config.train.dtype` describe.

    Args:
        config: a resolved config.
        remat: whether layers compute again what their gradient needs; for training alone.

    Raises:
        ValueError: an unknown method or precision, or sizes that cannot be.
    """
    check_sizes(config, "model.")  # a config of a model that is handed on, too
    return _method(config).build_model(config, product_dtype(config.train.dtype), remat)


def build_objective(config, texts: Texts, shards: int = 1) -> Objective:
    """The objective that a config describes.

    Args:
        config: a resolved config.
        texts: embeds reports and the names of entities.
        shards: devices that the batch is split over.

    Raises:
        ValueError: what cannot be.
    """
    model = build_model(config, config.train.remat)
    return _method(config).build_objective(config, model, texts, rules(config), form(config), shards)


def form(config) -> tokens.Form:
    """How a config wants ECGs put into tokens.

    Raises:
        ValueError: an unknown normalisation, tokenisation or length.
    """
    data = config.data
    if data.tokenization not in ("lead", "joint"):
        raise ValueError(f"data.tokenization={data.tokenization!r} is not one of lead, joint")
    return tokens.Form(data.normalization, data.token_length, data.tokenization == "joint")


def rules(config) -> masking.Masking:
    """How much a training step sees.

    Raises:
        ValueError: an unknown way of masking segments, or more masked than there is.
    """
    how = config.masking
    if how.segments not in ("independent", "shared"):
        raise ValueError(f"masking.segments={how.segments!r} is not one of independent, shared")
    shared = how.segments == "shared"
    return masking.Masking(how.min_leads, how.max_leads, how.masked_segments, shared, config.data.token_length)


def product_dtype(name: str):
    """The precision of matrix products that `train.dtype` names: bfloat16 pays on accelerators, on a CPU it is slower.

    Raises:
        ValueError: an unknown precision.
    """
    if name == "auto":
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"train.dtype={name!r} is not auto, float32 or bfloat16")
    return jnp.dtype(name)


def unread(config) -> list[str]:
    """Fields that are not as the recipe has them, and that the method does not look at all the same."""
    before, after = (flatten_dict(one.to_dict(), sep=".") for one in (base(config.name, config.recipe), config))
    before["text.encoder"] = after["text.encoder"]  # what reads no text refuses all but one
    ignored = (*_method(config).UNREAD, *_unread_because(config))
    return [name for name, value in after.items() if name.startswith(ignored) and value != before[name]]


def _unread_because(config) -> list[str]:
    """Fields that nothing looks at because of what another field says."""
    text, whole = config.text, not config.masking.masked_segments
    fields = (
        (_OF_A_VIT, config.model.encoder != "vit"),
        (("masking.segments",), whole),
        (("data.token_length",), whole and config.method != "kmerl"),  # their encoders have tokens of their own
        (("text.pooling", "text.window"), text.encoder == "lexical"),
        (("text.dropout",), not text.trainable_layers),
    )
    return [name for names, unread in fields if unread for name in names]


def check(config) -> None:
    """Raises ValueError for a field that cannot be, before anything is read or made."""
    check_numbers(config)
    weights = [name for name in _WEIGHTS if not name.startswith(_method(config).UNREAD)]
    if weights and not any(config.loss[name.removeprefix("loss.")] for name in weights):
        raise ValueError(f"{' and '.join(f'{name}=0' for name in weights)} leave nothing to learn from")
    if not config.evaluation.lead_sets or not all(isinstance(leads, str) for leads in config.evaluation.lead_sets):
        raise ValueError(f"evaluation.lead_sets={config.evaluation.lead_sets} are no texts like '12' or 'I,II'")
    for leads in config.evaluation.lead_sets:
        parse_leads(leads)
    build_objective(config, FrozenTexts(jnp.zeros((1, 1))))
    optimizer(config.optimizer, steps=1)
    for name, value, known in (
        ("loss.direction", config.loss.direction, losses.DIRECTIONS),
        ("data.possible", config.data.possible, tuple(POSSIBLE)),
        ("data.unreadable", config.data.unreadable, ("stop", "skip")),
        ("text.pooling", config.text.pooling, POOLINGS),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(known)}")


def _method(config):
    if config.method not in METHODS:
        raise ValueError(f"method={config.method!r} is not one of {', '.join(METHODS)}")
    return METHODS[config.method]
