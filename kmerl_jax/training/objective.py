"""What the training loop minimises. The loop knows an `Objective` and nothing of K-MERL."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from kmerl_jax.knowledge.queries import POSSIBLE
from kmerl_jax.models import masking, tokens
from kmerl_jax.models.bert import POOLINGS
from kmerl_jax.models.encoder import Encoder
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.training import losses
from kmerl_jax.training.optimizer import optimizer
from kmerl_jax.training.texts import Batch, Params, Texts, is_frozen

Outputs = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class Objective(Protocol):
    """A way of learning from batches of ECGs, reports and labels."""

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters, for batches of this shape."""

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """What the loss needs to know of each record, which does not depend on the other records.

        Args:
            params: parameters.
            batch: see `kmerl_jax.training.stream`.
            key: the run's key for everything random, the same at every step: what is drawn for a record follows from
                `batch["index"]`, its place in the stream.
            train: False where nothing is learnt from the batch.

        Returns:
            Arrays [B, ...] in the batch's order. Gradients flow through those of floats.
        """

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The loss of a batch and what else should be written down, from the outputs of all its records."""

    def loss(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> tuple[jax.Array, Metrics]:
        """`combine` of `outputs`."""
        return self.combine(self.outputs(params, batch, key, train), batch)

    def pretrained(self) -> Params:
        """Branches of the parameters' tree that do not begin as `init` makes them."""
        return {}

    def frozen(self, path: tuple[str, ...]) -> bool:
        """Whether the parameter at a path stays as it is."""
        return False


@dataclasses.dataclass(frozen=True)
class KMerlObjective(Objective):
    """K-MERL's two losses on masked leads (paper, Eqs. 4 and 5).

    Attributes:
        model: the network.
        texts: embeds reports and the names of entities.
        masking: what a step sees.
        normalization: of the tokens.
        contrast_weight: of the contrastive loss.
        entities_weight: of the entity loss.
        temperature: of the contrastive loss.
        direction: of the contrastive loss.
        duplicates: whether identical reports are positives of each other.
        shards: devices that the batch is split over; records are sorted within each one's block.
    """

    model: KMerl
    texts: Texts
    masking: masking.Masking
    normalization: str
    contrast_weight: float
    entities_weight: float
    temperature: float
    direction: str
    duplicates: bool
    shards: int = 1

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters of the model, and of what embeds texts if it learns."""
        ((_, bag), *_), _ = self._parts(batch, key)
        one = jnp.zeros((1, self.texts.width))
        params = self.model.init(key, bag, one, one)["params"]
        return params | jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.pretrained())

    def pretrained(self) -> Params:
        """The weights of what embeds texts."""
        return {"text": self.texts.weights} if self.texts.weights else {}

    def frozen(self, path: tuple[str, ...]) -> bool:
        """The lower part of what embeds texts."""
        return path[0] == "text" and is_frozen(path[1])

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """What the model says: "ecg" and "text" [B, P], "logits" [B, Q]; and what it was shown: "masks" [B] uint32."""
        mask_key, text_key = jax.random.split(key)
        parts, order = self._parts(batch, mask_key)
        text_key = text_key if train else None
        queries = self.texts.queries(params, batch, text_key)
        outs = []
        for part, bag in parts:
            out = self.model.apply({"params": params}, bag, self.texts.reports(params, part, text_key), queries)
            outs.append(out | {"masks": masking.checksum(part["index"], bag.lead, bag.segment, bag.valid)})
        places = jnp.argsort(order, axis=1)

        def in_order(*parts: jax.Array) -> jax.Array:
            blocks = jnp.concatenate([x.reshape(self.shards, -1, *x.shape[1:]) for x in parts], axis=1)
            return _take(blocks, places).reshape(-1, *blocks.shape[2:])

        return jax.tree.map(in_order, *outs)

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The weighted sum of the losses.

        Metrics are the two losses, the retrieval accuracy within the batch, and "masks": one number for all that was
        shown, the same on any number of devices.
        """
        ecg, text, text_id = outputs["ecg"], outputs["text"], batch["text_id"]
        positives = text_id if self.duplicates else None
        contrast = losses.contrast(ecg, text, positives, self.temperature, self.direction)
        entities = losses.entity_presence(outputs["logits"], batch["labels"])
        return self.contrast_weight * contrast + self.entities_weight * entities, {
            "loss_contrast": contrast,
            "loss_entities": entities,
            "retrieval": losses.retrieval(ecg, text, text_id),
            "masks": outputs["masks"].sum(dtype=jnp.uint32),
        }

    def _parts(self, batch: Batch, key: jax.Array) -> tuple[list[tuple[Batch, tokens.Tokens]], jax.Array]:
        """The batch in parts of as many visible leads, so that hidden leads cost nothing: a third of all tokens.

        Records are sorted within the block of each device, so nothing moves between devices.

        Returns:
            The parts, and [shards, B / shards]: where in its block each of the sorted records was.
        """
        rules = self.masking
        lead, segment, valid = masking.draw(key, batch["index"], batch["presence"], batch["segments"], rules)
        batch = {**batch, "lead": lead, "token_segment": segment, "valid": valid}
        blocks = {name: x.reshape(self.shards, -1, *x.shape[1:]) for name, x in batch.items()}
        visible = blocks["valid"].reshape(*blocks["valid"].shape[:2], rules.max_leads, -1).any(-1).sum(-1)
        order = jnp.argsort(-visible, axis=1, stable=True)
        blocks = {name: _take(x, order) for name, x in blocks.items()}
        parts = []
        for start, stop, leads in rules.groups(order.shape[1]):
            part = {name: x[:, start:stop].reshape(-1, *x.shape[2:]) for name, x in blocks.items()}
            budget = leads * rules.tokens // rules.max_leads
            places = (part.pop(name)[:, :budget] for name in ("lead", "token_segment", "valid"))
            bag = tokens.cut(part["signal"], *places)
            parts.append((part, tokens.normalize(bag, self.normalization)))
        return parts, order


def _take(blocks: jax.Array, places: jax.Array) -> jax.Array:
    """Rows [S, N, ...] at the places [S, N] of each block: batched, so that no block is gathered from all devices."""
    return jax.vmap(lambda x, place: x[place])(blocks, places)


def build_model(config, remat: bool = False) -> KMerl:
    """The network that `config.model` and `config.train.dtype` describe.

    Args:
        config: a resolved config.
        remat: whether layers compute again what their gradient needs; for training alone.

    Raises:
        ValueError: a width that its heads do not divide, gains of negative spread, or an unknown precision.
    """
    model = config.model
    for width, heads, name in (
        (model.width, model.heads, "model.heads"),
        (model.query_width, model.query_heads, "model.query_heads"),
    ):
        if heads < 1 or width % heads:
            raise ValueError(f"{name}={heads} does not divide the width {width}")
    if not 0 <= model.lead_gain < float("inf"):
        raise ValueError(f"model.lead_gain={model.lead_gain} is not a spread: 0 (no gains) or more")
    dtype = product_dtype(config.train.dtype)
    return KMerl(
        Encoder(model.width, model.depth, model.heads, model.mlp_ratio, model.lead_gain, dtype, remat),
        QueryNetwork(
            model.query_width,
            model.query_depth,
            model.query_heads,
            model.query_mlp_ratio,
            model.query_self_attention,
            dtype,
            remat,
        ),
        model.projection,
    )


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


def check(config) -> None:
    """Raises ValueError for a field of the model, masking, tokens, losses or optimiser that cannot be."""
    build_model(config)
    _masking(config)
    optimizer(config.optimizer, steps=1)
    for name, value, known in (
        ("data.normalization", config.data.normalization, tokens.NORMALIZATIONS),
        ("loss.direction", config.loss.direction, losses.DIRECTIONS),
        ("data.possible", config.data.possible, tuple(POSSIBLE)),
        ("data.unreadable", config.data.unreadable, ("stop", "skip")),
        ("text.pooling", config.text.pooling, POOLINGS),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(known)}")


def _masking(config) -> masking.Masking:
    return masking.Masking(config.masking.min_leads, config.masking.max_leads, config.masking.masked_segments)


def build_objective(config, texts: Texts, shards: int = 1) -> KMerlObjective:
    """K-MERL's objective as the config describes it.

    Args:
        config: a resolved config.
        texts: embeds reports and the names of entities.
        shards: devices that the batch is split over.
    """
    return KMerlObjective(
        build_model(config, config.train.remat),
        texts,
        _masking(config),
        config.data.normalization,
        config.loss.contrast,
        config.loss.entities,
        config.loss.temperature,
        config.loss.direction,
        config.loss.duplicates,
        shards,
    )
