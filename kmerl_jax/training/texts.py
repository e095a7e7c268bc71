"""The text side of a step: embeddings made before the run, or a BERT whose upper layers train along."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.models.bert import Bert
from kmerl_jax.text.encoder import TextEncoder

Params = Any
Batch = dict[str, jax.Array]


class Texts(Protocol):
    """What the objective asks for embeddings."""

    @property
    def width(self) -> int:
        """E."""

    @property
    def weights(self) -> Params:
        """What it adds to the parameters of the model, under "text"; {} if nothing."""

    def reports(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [B, E] of a batch's reports; `key` is for dropout, None is without."""

    def queries(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [Q, E] of the entities' names."""


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenTexts:
    """Embeddings that stay as they are: those of the reports come with the batch.

    Attributes:
        names: [Q, E], of the entities.
    """

    names: np.ndarray

    @property
    def weights(self) -> Params:
        """None."""
        return {}

    @property
    def width(self) -> int:
        """E."""
        return self.names.shape[1]

    def reports(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [B, E]."""
        return batch["text"]

    def queries(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [Q, E]."""
        return jnp.asarray(self.names)


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedTexts:
    """A BERT inside the step: its embeddings and lower layers stay as they are, its upper layers and pooler learn.

    Attributes:
        bert: the module; `bert.trainable_layers` says which layers learn, `bert.dropout` how much they forget.
        weights: its parameters at the beginning.
        tokens: [Q, L] int32, of the entities' names.
        valid: [Q, L] bool.
    """

    bert: Bert
    weights: Params
    tokens: np.ndarray
    valid: np.ndarray

    @property
    def width(self) -> int:
        """E."""
        return self.bert.sizes.width

    def reports(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [B, E] of the reports whose tokens are in the batch."""
        return self._embed(params, batch["text_tokens"], batch["text_valid"], batch["index"], key)

    def queries(self, params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        """Embeddings [Q, E] with the weights as they are now."""
        if key is not None:  # other names are forgotten at every step, the same in every part of a batch
            key = jax.random.fold_in(key, batch["first"][0])
        return self._embed(params, jnp.asarray(self.tokens), jnp.asarray(self.valid), jnp.arange(len(self.tokens)), key)

    def _embed(self, params: Params, tokens: jax.Array, valid: jax.Array, place: jax.Array, key) -> jax.Array:
        weights = {name: jax.lax.stop_gradient(x) if is_frozen(name) else x for name, x in params["text"].items()}
        if key is None or not self.bert.dropout:
            return self.bert.apply({"params": weights}, tokens, valid)

        def one(tokens, valid, place):
            rngs = {"dropout": jax.random.fold_in(key, place)}
            return self.bert.apply({"params": weights}, tokens[None], valid[None], rngs=rngs)[0]

        return jax.vmap(one)(tokens, valid, place)


def make_texts(encoder: TextEncoder, names: Sequence[str]) -> Texts:
    """What a text encoder is in a step.

    Args:
        encoder: of reports and names.
        names: Q names of the entities that are asked for.
    """
    if encoder.trainable:
        return TrainedTexts(encoder.bert, encoder.weights, *encoder.tokens(names))
    return FrozenTexts(encoder.embed(names))


def is_frozen(group: str) -> bool:
    """Whether a group of a `Bert`'s parameters stays as it is."""
    return group in ("embeddings", "lower")
