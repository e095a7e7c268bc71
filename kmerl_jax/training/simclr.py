"""SimCLR as a method (Chen et al. 2020, arXiv 2002.05709): what can be learnt without reports.

An ECG's two views are what `config.masking` leaves of its first half and of its second: some leads, and most of each.
They share no heartbeat (Kiyasseh et al. 2021, arXiv 2005.13249): else when the beats come would give the ECG away, and
nothing of what they look like need be learnt.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from kmerl_jax.models import batch_norm, masking, tokens
from kmerl_jax.models.simclr import SimClr
from kmerl_jax.training import losses, merl
from kmerl_jax.training.objective import Metrics, Objective, Outputs
from kmerl_jax.training.texts import Batch, Params, Texts

UNREAD = (
    *merl.UNREAD,
    "loss.contrast",
    "loss.direction",
    "loss.duplicates",
    "loss.view",
    "text.pooling",
    "text.window",
)
"""Beginnings of fields that this method does not look at."""


@dataclasses.dataclass(frozen=True)
class SimClrObjective(Objective):
    """A view is to be told from all other views of the batch by the other view of its ECG.

    Attributes:
        model: the network.
        masking: what a view shows.
        form: of the tokens.
        temperature: of the contrast.
    """

    model: SimClr
    masking: masking.Masking
    form: tokens.Form
    temperature: float

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters of the model."""
        return self.model.init_params(key, self.form, 0)

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """The views, "first" and "second" [B, P]; "masks" [B] uint32, of both; "drift" [B]."""
        shown = batch["index"], batch["presence"], batch["segments"]
        drawn = [masking.draw(one, *shown, self.masking) for one in jax.random.split(key)]
        middle = tokens.recorded(batch["segments"], self.form.length)[:, None] // 2
        drawn = [
            (lead, segment, valid & ((segment < middle) if early else (segment >= middle)))
            for early, (lead, segment, valid) in zip((True, False), drawn, strict=True)
        ]
        views = [tokens.formed(tokens.cut(batch["signal"], *one, self.form.length), self.form) for one in drawn]
        # Side by side, so that both stay on the device of their ECG.
        bag = jax.tree.map(lambda *x: jnp.stack(x, axis=1).reshape(-1, *x[0].shape[1:]), *views)
        out, drift = batch_norm.apply(self.model, params, train, bag)
        out = out.reshape(-1, 2, out.shape[-1])
        first, second = (masking.checksum(batch["index"], *one, self.form.segments) for one in drawn)
        return {
            "first": out[:, 0],
            "second": out[:, 1],
            "masks": first ^ masking.hashed(second),
            "drift": jnp.broadcast_to(drift, batch["index"].shape),
        }

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The contrast; metrics are how often the nearest second view is an ECG's own, and "masks"."""
        first, second = outputs["first"], outputs["second"]
        loss = nt_xent(first, second, self.temperature)
        return batch_norm.follow(loss, outputs["drift"].mean()), {
            "retrieval": losses.retrieval(first, second, jnp.arange(len(first))),
            "masks": outputs["masks"].sum(dtype=jnp.uint32),
        }


def nt_xent(first: jax.Array, second: jax.Array, temperature: float) -> jax.Array:
    """Cross-entropy of each of 2B views over the 2B - 1 others, of which the other of its ECG is right (Eq. 1).

    Args:
        first: [B, P].
        second: [B, P].
        temperature: tau.

    Returns:
        Scalar, float32.
    """
    # Side by side here too: a concatenation would send every second row to another device.
    views = losses.unit(jnp.stack([first, second], axis=1).reshape(-1, first.shape[1]))
    logits = jnp.where(jnp.eye(len(views), dtype=bool), -jnp.inf, views @ views.T / temperature)
    own = jnp.arange(len(views)) ^ 1
    return optax.softmax_cross_entropy_with_integer_labels(logits, own).mean()


def build_model(config, dtype, remat: bool = False) -> SimClr:
    """The network; arguments and errors as of `merl.build_encoder`."""
    return SimClr(merl.build_encoder(config, dtype, remat), config.model.projection)


def build_objective(
    config, model: SimClr, texts: Texts, rules: masking.Masking, form: tokens.Form, shards: int
) -> SimClrObjective:
    """The objective; arguments as of `kmerl.build_objective`.

    Raises:
        ValueError: a text encoder that costs something, nothing to compare views in, or a batch in parts, each of which
            would have statistics of its own.
    """
    del texts, shards
    if config.text.trainable_layers or config.text.encoder != "lexical":
        raise ValueError(
            "SimCLR reads no text: text.encoder=lexical, text.trainable_layers=0 (reports cost nothing then)"
        )
    if model.projection < 1:
        raise ValueError(f"model.projection={model.projection} is not 1 or more")
    if config.train.microbatches > 1:
        raise ValueError("train.microbatches: SimCLR normalises over the whole batch, which cannot be taken in parts")
    return SimClrObjective(model, rules, form, config.loss.temperature)
