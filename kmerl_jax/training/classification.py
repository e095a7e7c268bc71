"""Learning from labels: the objective of fine-tuning and of supervised training."""

import dataclasses

import jax
import optax

from kmerl_jax.models import tokens
from kmerl_jax.models.classifier import Classifier
from kmerl_jax.training.objective import Metrics, Objective, Outputs
from kmerl_jax.training.texts import Batch, Params


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationObjective(Objective):
    """Binary cross-entropy of each class, over all recorded tokens of the chosen leads.

    Attributes:
        model: the encoder with a head.
        normalization: of the tokens.
        leads: indices of the leads that may be seen.
        derive: computes the other limb leads of an ECG that shows two of them.
        samples: after which a window is zero, or None; see `tokens.all_tokens`.
        encoder: parameters that the encoder begins with; {} begins with random ones.
    """

    model: Classifier
    normalization: str
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
        """Logits [B, C]; nothing about them is random."""
        return {"logits": self.model.apply({"params": params}, self._bag(batch))}

    def combine(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The mean over records and the classes that are known of them."""
        logits, known = outputs["logits"], batch["labels"] >= 0
        each = optax.sigmoid_binary_cross_entropy(logits, (batch["labels"] == 1).astype(logits.dtype))
        return (each * known).sum() / jax.numpy.maximum(known.sum(), 1), {}

    def _bag(self, batch: Batch) -> tokens.Tokens:
        shown = batch["signal"], batch["presence"], batch["segments"]
        bag = tokens.all_tokens(*shown, self.leads, self.derive, self.samples)
        return tokens.normalize(bag, self.normalization)
