"""MERL as a method (Liu et al. 2024, arXiv 2403.06659): its network and its objective, as a config describes them.

All leads are shown and missing ones are zero, unless `config.masking` hides some: then it is MERL with random lead
masking, which learns what a zero-filled lead is.
"""

import dataclasses

import jax
import jax.numpy as jnp

from kmerl_jax.models import batch_norm, masking, tokens
from kmerl_jax.models.merl import Merl
from kmerl_jax.models.resnet import DEPTHS, ResNet
from kmerl_jax.models.vit import Vit
from kmerl_jax.training import losses
from kmerl_jax.training.objective import Metrics, Outputs, ReportObjective
from kmerl_jax.training.texts import Batch, Params, Texts

UNREAD = (
    "data.superclasses",
    "data.possible",
    "loss.entities",
    "model.lead_",
    "model.query_",
    "model.temporal_embedding",
)
"""Beginnings of fields that this method does not look at."""


@dataclasses.dataclass(frozen=True)
class MerlObjective(ReportObjective):
    """Cross-modal and uni-modal alignment: ECGs with their reports, and two dropout views of each ECG.

    Each is the mean of both directions; the published code has their sum, twice as much.

    Attributes:
        contrast_weight: of the alignment with reports.
        views_weight: of the alignment of views.
        temperature: of both.
        direction: of the first.
        duplicates: whether identical reports are positives of each other.
        dropout: of the views.
    """

    contrast_weight: float
    views_weight: float
    temperature: float
    direction: str
    duplicates: bool
    dropout: float

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """What the model says, "ecg", "text", "first" and "second" [B, P]; "masks" [B] uint32; "drift" [B]."""
        mask_key, text_key, view_key = jax.random.split(key, 3)
        shown = batch["index"], batch["presence"], batch["segments"]
        lead, segment, valid = masking.draw(mask_key, *shown, self.masking)
        bag = tokens.formed(tokens.cut(batch["signal"], lead, segment, valid, self.form.length), self.form)
        text = self.texts.reports(params, batch, text_key if train else None)
        kept = self._kept(view_key, batch["index"]) if train else None
        out, drift = batch_norm.apply(self.model, params, train, bag, text, kept)
        drift = jnp.broadcast_to(drift, batch["index"].shape)
        masks = masking.checksum(batch["index"], lead, segment, valid, self.form.segments)
        return out | {"masks": masks, "drift": drift}

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The weighted sum of the two alignments; metrics are both, the retrieval accuracy, and "masks"."""
        ecg, text, text_id = outputs["ecg"], outputs["text"], batch["text_id"]
        positives = text_id if self.duplicates else None
        contrast = losses.contrast(ecg, text, positives, self.temperature, self.direction)
        views = losses.contrast(outputs["first"], outputs["second"], None, self.temperature)
        total = self.contrast_weight * contrast + self.views_weight * views
        return batch_norm.follow(total, outputs["drift"].mean()), {
            "loss_contrast": contrast,
            "loss_views": views,
            "retrieval": losses.retrieval(ecg, text, text_id),
            "masks": outputs["masks"].sum(dtype=jnp.uint32),
        }

    def _kept(self, key: jax.Array, index: jax.Array) -> jax.Array:
        """[B, 2, P]: 0, or what keeps the mean; drawn by the record's place in the stream."""
        shape, keep = (2, self.model.projection), 1 - self.dropout
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        return jax.vmap(lambda key: jax.random.bernoulli(key, keep, shape))(keys) / keep


def build_model(config, dtype, remat: bool = False) -> Merl:
    """The network; arguments and errors as of `build_encoder`."""
    return Merl(build_encoder(config, dtype, remat), config.model.projection)


def build_encoder(config, dtype, remat: bool = False) -> ResNet | Vit:
    """The encoder of all leads.

    Args:
        config: a resolved config.
        dtype: of the matrix products.
        remat: whether layers compute again what their gradient needs; for training alone.

    Raises:
        ValueError: an unknown encoder, a width that its heads do not divide, or tokens of all leads at once.
    """
    model = config.model
    if config.data.tokenization != "lead":
        raise ValueError(
            f"data.tokenization=joint is an ablation of K-MERL; the tokens of {config.method} are of all leads already"
        )
    if model.encoder in DEPTHS:
        return ResNet(model.encoder, dtype, remat)
    if model.encoder != "vit":
        raise ValueError(f"model.encoder={model.encoder!r} is not one of vit, {', '.join(DEPTHS)}")
    if model.width % model.heads:
        raise ValueError(f"model.heads={model.heads} does not divide the width {model.width}")
    return Vit(model.width, model.depth, model.heads, model.mlp_ratio, dtype, remat)


def build_objective(
    config, model: Merl, texts: Texts, rules: masking.Masking, form: tokens.Form, shards: int
) -> MerlObjective:
    """The objective; arguments as of `kmerl.build_objective`.

    Raises:
        ValueError: a model without heads, a dropout that keeps nothing, or a batch in parts, each of which would have
            statistics of its own.
    """
    del shards
    loss = config.loss
    if not model.projection:
        raise ValueError("model.projection=0 is an encoder without heads, which was imported; it cannot be trained")
    if not 0 <= loss.view_dropout < 1:
        raise ValueError(f"loss.view_dropout={loss.view_dropout} is not a share from 0 to below 1")
    if config.train.microbatches > 1:
        raise ValueError("train.microbatches: MERL normalises over the whole batch, which cannot be taken in parts")
    weights = loss.contrast, loss.views, loss.temperature, loss.direction, loss.duplicates, loss.view_dropout
    return MerlObjective(model, texts, rules, form, *weights)
