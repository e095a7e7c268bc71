"""What the training loop minimises. The loop knows an `Objective` and nothing of K-MERL."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from kmerl_jax.models import masking, tokens
from kmerl_jax.models.batch_norm import STATISTICS
from kmerl_jax.training.optimizer import FROZEN, RUNNING, TRAINED
from kmerl_jax.training.texts import Batch, Params, Texts, is_frozen

Outputs = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class Objective(Protocol):
    """A way of learning from batches of ECGs, reports and labels."""

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters, for batches of this shape."""

    def outputs(self, params: Params, batch: Batch, key: jax.Array, train: bool) -> Outputs:
        """What the loss needs to know of each record. It depends on the other records by batch normalisation alone.

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

    def role(self, path: tuple[str, ...]) -> str:
        """How the parameter at a path is updated, one of `optimizer.ROLES`."""
        return RUNNING if path[-1] in STATISTICS else TRAINED


@dataclasses.dataclass(frozen=True)
class ReportObjective(Objective):
    """What objectives share that learn from ECGs and reports.

    Attributes:
        model: the network.
        texts: embeds reports and the names of entities.
        masking: what a step sees.
        form: of the tokens.
    """

    model: Any
    texts: Texts
    masking: masking.Masking
    form: tokens.Form

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters of the model, and of what embeds texts if it learns."""
        params = self.model.init_params(key, self.form, self.texts.width)
        return params | jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.pretrained())

    def pretrained(self) -> Params:
        """The weights of what embeds texts."""
        return {"text": self.texts.weights} if self.texts.weights else {}

    def role(self, path: tuple[str, ...]) -> str:
        """The lower part of what embeds texts stays as it is."""
        return FROZEN if path[0] == "text" and is_frozen(path[1]) else super().role(path)
