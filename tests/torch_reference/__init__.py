"""K-MERL's model and training step, and MERL's, in PyTorch.

What the tests compare the model's values with, and what `python -m kmerl_jax.benchmark --peer` races. So it is written
as fast PyTorch usually is: fused attention and optimiser, joined projections, autocast, torch.compile where asked for.
"""

from tests.torch_reference.loader import AHEAD, batches, write_arrays
from tests.torch_reference.merl import TEXT_TOKENS, Merl, MerlObjective
from tests.torch_reference.model import KMerl, Tokens
from tests.torch_reference.objective import LAYOUTS, KMerlObjective, all_tokens, draw
from tests.torch_reference.parameters import from_flax, load_flax
from tests.torch_reference.trainer import Trainer, autocast, find_device, to_device

__all__ = [
    "AHEAD",
    "LAYOUTS",
    "TEXT_TOKENS",
    "KMerl",
    "KMerlObjective",
    "Merl",
    "MerlObjective",
    "Tokens",
    "Trainer",
    "all_tokens",
    "autocast",
    "batches",
    "draw",
    "find_device",
    "from_flax",
    "load_flax",
    "to_device",
    "write_arrays",
]
