"""What the training loop minimises. The loop knows an `Objective` and nothing of K-MERL."""

from typing import Protocol

import jax

from kmerl_jax.training.optimizer import TRAINED
from kmerl_jax.training.texts import Batch, Params

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

    def role(self, path: tuple[str, ...]) -> str:
        """How the parameter at a path is updated, one of `optimizer.ROLES`."""
        return TRAINED
