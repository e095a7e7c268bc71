"""Learning from labels: the objective of fine-tuning and of supervised training."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from kmerl_jax.models import batch_norm, tokens
from kmerl_jax.models.classifier import Classifier
from kmerl_jax.training.objective import Metrics, Objective, Outputs
from kmerl_jax.training.texts import Batch, Params


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationObjective(Objective):
    """Binary cross-entropy of each class, over all recorded tokens of the chosen leads.

    Attributes:
        model: the encoder with a head.
        form: of the tokens.
        leads: indices of the leads that may be seen.
        derive: computes the other limb leads of an ECG that shows two of them.
        samples: after which a window is zero, or None; see `tokens.all_tokens`.
        encoder: parameters that the encoder begins with; {} begins with random ones.
    """

    model: Classifier
    form: tokens.Form
    leads: tuple[int, ...]
    derive: bool
    samples: int | None
    encoder: Params

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters of the encoder and the head."""
        return self.model.init(key, self._bag(batch))["params"]

    def pretrained(self) -> Params:
        """The encoder that it begins with."""
        return {"encoder": self.encoder} if self.encoder else {}

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """ "logits" [B, C] and "drift" [B] (see `batch_norm.apply`); nothing about them is random."""
        logits, drift = batch_norm.apply(self.model, params, train, self._bag(batch))
        return {"logits": logits, "drift": jnp.broadcast_to(drift, len(logits))}

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The mean over records and the classes that are known of them."""
        logits, known = outputs["logits"], batch["labels"] >= 0
        each = optax.sigmoid_binary_cross_entropy(logits, (batch["labels"] == 1).astype(logits.dtype))
        loss = (each * known).sum() / jnp.maximum(known.sum(), 1)
        return batch_norm.follow(loss, outputs["drift"].mean()), {}

    def _bag(self, batch: Batch) -> tokens.Tokens:
        shown = batch["signal"], batch["presence"], batch["segments"]
        bag = tokens.all_tokens(*shown, self.leads, self.derive, self.samples, self.form.length)
        return tokens.formed(bag, self.form)
