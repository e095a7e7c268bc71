"""The work that training must do, on paper, by part: what a measured rate is held against.

Useful work alone. Places of the bag that are not filled, what is computed again, and what would be the same for every
record but is computed for each, do not count; neither does what is not a matrix product.
"""

import dataclasses

import numpy as np

from kmerl_jax.signals.waveform import SEGMENT, SEGMENTS


@dataclasses.dataclass(frozen=True)
class Work:
    """FLOPs an ECG, a multiplication and an addition each.

    Attributes:
        forward: of the loss.
        step: of the loss and its gradient.
    """

    forward: float
    step: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.forward + other.forward, self.step + other.step)


def _learnt(products: float) -> Work:
    """Both factors have a gradient: a product for each beside the first."""
    return Work(2 * products, 6 * products)


def _given(products: float) -> Work:
    """One factor is data: there is no gradient of it."""
    return Work(2 * products, 4 * products)


def of_training(config, queries: int, text_width: int) -> dict[str, Work]:
    """The work of a training step with frozen texts, an ECG, by part.

    Args:
        config: a resolved config.
        queries: Q, entities that are asked for.
        text_width: E, of an embedded text.

    Returns:
        "encoder", "query network", "projectors", "contrast".
    """
    masking, batch = config.masking, config.train.batch_size
    leads = np.arange(masking.min_leads, masking.max_leads + 1)
    tokens = leads * (SEGMENTS - masking.masked_segments)
    model = config.model
    return {
        "encoder": _encoder(model, tokens),
        "query network": _query_network(model, tokens, queries, text_width, batch),
        "projectors": _learnt(model.width * model.projection + 2 * model.projection**2)
        + _given(text_width * model.projection),
        "contrast": _learnt(batch * model.projection),
    }


def of_inference(config, leads: int, queries: int, text_width: int) -> dict[str, float]:
    """FLOPs of the answers to all queries about one ECG that shows so many whole leads, by part."""
    tokens = np.array([leads * SEGMENTS])
    return {
        "encoder": _encoder(config.model, tokens).forward,
        "query network": _query_network(config.model, tokens, queries, text_width, 1).forward,
    }


def _encoder(model, tokens: np.ndarray) -> Work:
    width = model.width
    layer = (4 + 2 * model.mlp_ratio) * width**2 * tokens + 2 * width * tokens**2
    return _given(tokens.mean() * SEGMENT * width) + _learnt(model.depth * layer.mean())


def _query_network(model, tokens: np.ndarray, queries: int, text_width: int, batch: int) -> Work:
    width, depth = model.query_width, model.query_depth
    # What is asked does not depend on the ECG until the first attention to it: once a batch.
    before = queries * width**2 + (model.query_self_attention * (4 * queries * width**2 + 2 * queries**2 * width))
    after = queries * width**2 * (1 + 2 * model.query_mlp_ratio)
    memory = 2 * tokens.mean() * width * (model.width + queries)
    return (
        _given(queries * text_width * width / batch)
        + _learnt(before * (1 / batch + depth - 1))
        + _learnt(depth * (after + memory))
        + _learnt(queries * width)
    )


def bytes_to_device(batch: dict[str, np.ndarray]) -> float:
    """Bytes an ECG that a batch takes to the device."""
    return sum(x.nbytes for x in batch.values()) / len(batch["index"])


def bytes_seen(config) -> float:
    """Bytes of the samples an ECG that a step makes use of, in 16 bits: of `bytes_to_device`, what is information."""
    masking = config.masking
    leads = (masking.min_leads + masking.max_leads) / 2
    return 2 * leads * (SEGMENTS - masking.masked_segments) * SEGMENT
