"""What the training loop minimises. The loop knows `init` and `loss` and nothing of K-MERL."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.knowledge.entities import POSSIBLE
from kmerl_jax.models import masking, tokens
from kmerl_jax.models.encoder import Encoder
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.training import losses

Params = Any
Batch = dict[str, jax.Array]


class Objective(Protocol):
    """A way of learning from batches of ECGs, reports and labels."""

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters, for batches of this shape."""

    def loss(self, params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch and what else should be written down.

        Args:
            params: parameters.
            batch: see `kmerl_jax.training.stream`.
            key: the run's key for everything random, the same at every step: what is drawn for a record follows from
                `batch["index"]`, its place in the stream.
        """


@dataclasses.dataclass(frozen=True)
class KMerlObjective:
    """K-MERL's two losses on masked leads (paper, Eqs. 4 and 5).

    Attributes:
        model: the network.
        queries: [Q, E], embeddings of the entities' names.
        masking: what a step sees.
        normalization: of the tokens.
        contrast_weight: of the contrastive loss.
        entities_weight: of the entity loss.
        temperature: of the contrastive loss.
        direction: of the contrastive loss.
        duplicates: whether identical reports are positives of each other.
    """

    model: KMerl
    queries: np.ndarray
    masking: masking.Masking
    normalization: str
    contrast_weight: float
    entities_weight: float
    temperature: float
    direction: str
    duplicates: bool

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters of the model."""
        bag = self._bag(batch, key)
        return self.model.init(key, bag, batch["text"], jnp.asarray(self.queries))["params"]

    def loss(self, params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The weighted sum; metrics are the two losses and the retrieval accuracy within the batch."""
        out = self.model.apply({"params": params}, self._bag(batch, key), batch["text"], jnp.asarray(self.queries))
        text_id = batch["text_id"] if self.duplicates else None
        contrast = losses.contrast(out["ecg"], out["text"], text_id, self.temperature, self.direction)
        entities = losses.entity_presence(out["logits"], batch["labels"])
        return self.contrast_weight * contrast + self.entities_weight * entities, {
            "loss_contrast": contrast,
            "loss_entities": entities,
            "retrieval": losses.retrieval(out["ecg"], out["text"], batch["text_id"]),
        }

    def _bag(self, batch: Batch, key: jax.Array) -> tokens.Tokens:
        lead, segment, valid = masking.draw(key, batch["index"], batch["presence"], batch["segments"], self.masking)
        return tokens.normalize(tokens.cut(batch["signal"], lead, segment, valid), self.normalization)


def build_model(config) -> KMerl:
    """The network that `config.model` and `config.train.dtype` describe.

    Raises:
        ValueError: a width that its heads do not divide, or an unknown precision.
    """
    model = config.model
    for width, heads, name in (
        (model.width, model.heads, "model.heads"),
        (model.query_width, model.query_heads, "model.query_heads"),
    ):
        if heads < 1 or width % heads:
            raise ValueError(f"{name}={heads} does not divide the width {width}")
    dtype = _dtype(config.train.dtype)
    return KMerl(
        Encoder(model.width, model.depth, model.heads, model.mlp_ratio, dtype),
        QueryNetwork(
            model.query_width,
            model.query_depth,
            model.query_heads,
            model.query_mlp_ratio,
            model.query_self_attention,
            dtype,
        ),
        model.projection,
    )


def _dtype(name: str):
    """bfloat16 pays on accelerators; on a CPU it is slower than float32."""
    if name == "auto":
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"train.dtype={name!r} is not auto, float32 or bfloat16")
    return jnp.dtype(name)


def check(config) -> None:
    """Raises ValueError for a field of the model, the masking, the tokens or the losses that cannot be."""
    build_model(config)
    _masking(config)
    for name, value, known in (
        ("data.normalization", config.data.normalization, tokens.NORMALIZATIONS),
        ("loss.direction", config.loss.direction, losses.DIRECTIONS),
        ("data.possible", config.data.possible, tuple(POSSIBLE)),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(known)}")


def _masking(config) -> masking.Masking:
    return masking.Masking(config.masking.min_leads, config.masking.max_leads, config.masking.masked_segments)


def build_objective(config, queries: np.ndarray) -> KMerlObjective:
    """K-MERL's objective as the config describes it.

    Args:
        config: a resolved config.
        queries: [Q, E], embeddings of the entities' names.
    """
    return KMerlObjective(
        build_model(config),
        queries,
        _masking(config),
        config.data.normalization,
        config.loss.contrast,
        config.loss.entities,
        config.loss.temperature,
        config.loss.direction,
        config.loss.duplicates,
    )
