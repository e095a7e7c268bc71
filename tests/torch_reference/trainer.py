"""The training step around an objective: autocast, gradient, clipping, AdamW."""

from typing import Any

import torch
from torch import Tensor, nn


def to_device(batch: dict[str, Any], device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """A batch of numpy arrays or tensors on a device; copies from pinned memory do not block.

    Args:
        batch: arrays [B, ...].
        device: where to.
    """
    return {name: torch.as_tensor(x).to(device, non_blocking=True) for name, x in batch.items()}


def find_device(gpu: bool) -> str:
    """Where to compute. On a GPU, float32 products are of TF32 from here on, as XLA's are."""
    if gpu:
        torch.set_float32_matmul_precision("high")
    return "cuda" if gpu else "cpu"


def autocast(device: str | torch.device, dtype: torch.dtype) -> torch.autocast:
    """Matrix products in the chosen precision: bfloat16 is by autocast, float32 as it is."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=dtype == torch.bfloat16)


class Trainer:
    """Steps of AdamW with a constant learning rate.

    Attributes:
        objective: from a batch to its loss.
    """

    def __init__(
        self,
        objective: nn.Module,
        optimizer,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        compile: str | None = None,
    ):
        """Args:
        objective: from a batch to its loss; it is moved to the device.
        optimizer: the optimiser's part of a config; its schedule is left out.
        device: where to compute; see `find_device`.
        dtype: of the matrix products.
        compile: None, or a mode of torch.compile: "default", "reduce-overhead" (CUDA graphs), "max-autotune".
        """
        self.device, self._dtype, self._clip = torch.device(device), dtype, optimizer.clip
        self.objective = objective.to(self.device).train()
        self._loss = torch.compile(objective, mode=compile, dynamic=False) if compile else objective
        self._parameters = [p for p in objective.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            optimizer.learning_rate,
            (optimizer.b1, optimizer.b2),
            weight_decay=optimizer.weight_decay,
            fused=True,
        )

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch on the device, in the chosen precision."""
        with autocast(self.device, self._dtype):
            return self._loss(batch)

    def step(self, batch: dict[str, Tensor]) -> Tensor:
        """Updates the parameters. The loss is not waited for: reading it (`.item()`) does that."""
        loss = self.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach().clone()  # CUDA graphs reuse the memory of what they return
