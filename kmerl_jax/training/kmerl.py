"""K-MERL as a method: its network and its objective, as a config describes them."""

import dataclasses

import jax
import jax.numpy as jnp

from kmerl_jax.models import masking, tokens
from kmerl_jax.models.encoder import Encoder, LeadEmbedding
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.training import losses
from kmerl_jax.training.objective import Metrics, Outputs, ReportObjective
from kmerl_jax.training.texts import Batch, Params, Texts

UNREAD = ("loss.view",)
"""Beginnings of fields that this method does not look at."""


@dataclasses.dataclass(frozen=True)
class KMerlObjective(ReportObjective):
    """K-MERL's two losses on masked leads (paper, Eqs. 4 and 5).

    Attributes:
        contrast_weight: of the contrastive loss.
        entities_weight: of the entity loss.
        temperature: of the contrastive loss.
        direction: of the contrastive loss.
        duplicates: whether identical reports are positives of each other.
        shards: devices that the batch is split over; records are sorted within each one's block.
    """

    contrast_weight: float
    entities_weight: float
    temperature: float
    direction: str
    duplicates: bool
    shards: int = 1

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """What the model says: "ecg" and "text" [B, P], "logits" [B, Q]; and what it was shown: "masks" [B] uint32."""
        mask_key, text_key = jax.random.split(key)
        parts, order = self._parts(batch, mask_key)
        text_key = text_key if train else None
        queries = self.texts.queries(params, batch, text_key)
        outs = []
        for part, bag in parts:
            shown = tokens.formed(bag, self.form)
            out = self.model.apply({"params": params}, shown, self.texts.reports(params, part, text_key), queries)
            ids = bag.lead, bag.segment, bag.valid
            outs.append(out | {"masks": masking.checksum(part["index"], *ids, self.form.segments)})
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
            bag = tokens.cut(part["signal"], *places, self.form.length)
            parts.append((part, bag))
        return parts, order


def _take(blocks: jax.Array, places: jax.Array) -> jax.Array:
    """Rows [S, N, ...] at the places [S, N] of each block: batched, so that no block is gathered from all devices."""
    return jax.vmap(lambda x, place: x[place])(blocks, places)


def build_model(config, dtype, remat: bool = False) -> KMerl:
    """The network.

    Args:
        config: a resolved config.
        dtype: of the matrix products.
        remat: whether layers compute again what their gradient needs; for training alone.

    Raises:
        ValueError: a width that its heads do not divide, another encoder than a ViT, or embeddings of the leads of
            joint tokens.
    """
    model = config.model
    if model.encoder != "vit":
        raise ValueError(f"model.encoder={model.encoder!r}: K-MERL's encoder is vit, over lead tokens")
    if model.projection < 1:
        raise ValueError(f"model.projection={model.projection} is not 1 or more")
    if model.width % model.heads:
        raise ValueError(f"model.heads={model.heads} does not divide the width {model.width}")
    if not model.query_head_width and model.query_width % model.query_heads:
        raise ValueError(
            f"model.query_heads={model.query_heads} does not divide the width {model.query_width}; "
            "model.query_head_width=64 gives each head a width of its own"
        )
    if config.data.tokenization == "joint" and (model.lead_embedding or model.lead_gain):
        raise ValueError("data.tokenization=joint has tokens of no lead: model.lead_embedding=False, model.lead_gain=0")
    embedding = LeadEmbedding(
        model.width,
        model.lead_gain,
        tokens.Form(length=config.data.token_length).segments,
        model.lead_embedding,
        model.temporal_embedding,
        dtype,
    )
    return KMerl(
        Encoder(embedding, model.depth, model.heads, model.mlp_ratio, dtype, remat),
        QueryNetwork(
            model.query_width,
            model.query_depth,
            model.query_heads,
            model.query_mlp_ratio,
            model.query_self_attention,
            model.query_head_width,
            dtype,
            remat,
        ),
        model.projection,
    )


def build_objective(
    config, model: KMerl, texts: Texts, rules: masking.Masking, form: tokens.Form, shards: int
) -> KMerlObjective:
    """The objective.

    Args:
        config: a resolved config.
        model: of `build_model`.
        texts: embeds reports and the names of entities.
        rules: what a step sees.
        form: of the tokens.
        shards: devices that the batch is split over.
    """
    loss = config.loss
    weights = loss.contrast, loss.entities, loss.temperature, loss.direction, loss.duplicates
    return KMerlObjective(model, texts, rules, form, *weights, shards)
