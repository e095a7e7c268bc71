"""Parameters of the Flax model as a state of the PyTorch model."""

from typing import Any

import flax
import numpy as np
import torch
from torch import Tensor, nn

_NAMES = {"kernel": "weight", "scale": "weight"}


def from_flax(tree: Any) -> dict[str, Tensor]:
    """Parameters of a Flax `KMerl`, or anything shaped like them (a gradient), under PyTorch's names.

    Kernels are transposed, stacked layers taken apart, and the projections of an attention that are one matrix product
    in PyTorch put together.
    """
    state = {}
    for path, x in flax.traverse_util.flatten_dict(tree).items():
        x = np.asarray(x)
        if "layers" in path:
            place = path.index("layers") + 1
            state |= {(*path[:place], str(n), *path[place:]): layer for n, layer in enumerate(x)}
        else:
            state[path] = x
    arrays = {
        ".".join([*path[:-1], _NAMES.get(path[-1], path[-1])]): x.T if path[-1] == "kernel" else x
        for path, x in state.items()
    }
    for name in [name for name in arrays if ".key." in name]:
        parts, joint = ("key", "value"), "key_value"
        if ".cross_attention." not in name:
            parts, joint = ("query", *parts), "qkv"
        joined = [arrays.pop(name.replace(".key.", f".{part}.")) for part in parts]
        arrays[name.replace(".key.", f".{joint}.")] = np.concatenate(joined)
    return {name: torch.tensor(x) for name, x in arrays.items()}


def load_flax(model: nn.Module, params: Any) -> None:
    """Gives a `KMerl` the parameters of a Flax `KMerl` of the same sizes.

    Raises:
        RuntimeError: a parameter is missing, unknown or of another shape.
    """
    model.load_state_dict(from_flax(params))
