"""The work that training must do, on paper, by part: what a measured rate is held against.

Useful work alone. Places of the bag that are not filled, what is computed again, and what would be the same for every
record but is computed for each, do not count; neither does what is not a matrix product.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kmerl_jax.models import resnet, vit
from kmerl_jax.models.bert import BertSizes
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES
from kmerl_jax.training import methods


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


def of_training(config, queries: int, bert: BertSizes, name_tokens: int) -> dict[str, Work]:
    """The work of a training step, an ECG, by part.

    Args:
        config: a resolved config.
        queries: Q, entities that are asked for.
        bert: what embeds texts: within the step if layers of it learn; else texts come embedded.
        name_tokens: of an entity's name. Reports fill their window.

    Returns:
        "encoder", "query network", "projectors", "contrast"; and "text" if layers of the BERT learn. Of MERL and SimCLR
        "heads" in place of the second and third.

    Raises:
        ValueError: tokens of all leads at once, of which there are as many as the leads happen to show; or a method
            whose work is not known here.
    """
    _check_method(config)
    text, model = config.text, config.model
    texts = _learnt if text.trainable_layers else _given
    rules, batch = methods.rules(config), config.train.batch_size
    tokens = np.arange(rules.min_leads, rules.max_leads + 1) * rules.kept
    projected = texts(bert.width * model.projection) + _learnt(model.projection**2)
    if config.method == "simclr":  # everything of two views, and each is compared with those of both kinds
        head = _learnt(_features(model) * model.projection + model.projection**2)
        encoder = _over_all_leads(model)
        return {"encoder": encoder + encoder, "heads": head + head, "contrast": _learnt(4 * batch * model.projection)}
    if config.method == "merl":
        parts = {
            "encoder": _over_all_leads(model),
            "heads": _heads(model) + projected,
            "contrast": _learnt(2 * batch * model.projection),
        }
    else:
        parts = {
            "encoder": _encoder(config, tokens),
            "query network": _query_network(model, tokens, queries, batch)
            + texts(queries * bert.width * model.query_width / batch),
            "projectors": _learnt(model.width * model.projection + model.projection**2) + projected,
            "contrast": _learnt(batch * model.projection),
        }
    if not text.trainable_layers:
        return parts
    # The names are embedded once a batch.
    names = ((name_tokens, queries / batch),) if config.method == "kmerl" else ()
    each = ((text.window, 1), *names)
    embedded = (_bert(bert, length, text.trainable_layers, text.pooling, count) for length, count in each)
    return parts | {"text": sum(embedded, Work(0, 0))}


def of_inference(config, leads: int, queries: int, text_width: int) -> dict[str, float]:
    """FLOPs of the answers to all queries about one ECG that shows so many leads, by part; raises as `of_training`."""
    _check_method(config)
    if config.method == "simclr":
        return {"encoder": _over_all_leads(config.model).forward}
    if config.method == "merl":  # whatever is shown, it sees all leads
        width = config.model.projection
        asked = _given(queries * text_width * width) + _learnt(queries * (width**2 + width))
        heads = _heads(config.model, views=False) + asked
        return {"encoder": _over_all_leads(config.model).forward, "heads": heads.forward}
    tokens, names = (
        np.array([leads * methods.rules(config).segments]),
        _given(queries * text_width * config.model.query_width),
    )
    return {
        "encoder": _encoder(config, tokens).forward,
        "query network": (_query_network(config.model, tokens, queries, 1) + names).forward,
    }


def _check_method(config) -> None:
    if config.method not in ("kmerl", "merl", "simclr"):
        raise ValueError(f"method={config.method}: its work on paper is not known in throughput/work.py")


def of_texts(bert: BertSizes, lengths: Sequence[int], pooling: str) -> float:
    """FLOPs of embedding a text, the mean over texts of so many tokens."""
    return float(np.mean([_bert(bert, length, 0, pooling).forward for length in lengths]))


def _layer(tokens, width: int, hidden: int):
    """Multiplications of a transformer's layer that so many tokens go through."""
    return (4 * width + 2 * hidden) * width * tokens + 2 * width * tokens**2


def _encoder(config, tokens: np.ndarray) -> Work:
    if config.data.tokenization == "joint":
        raise ValueError("data.tokenization=joint: how many tokens an ECG has depends on its masks; no work is counted")
    model = config.model
    layer = _layer(tokens, model.width, model.mlp_ratio * model.width)
    return _given(tokens.mean() * config.data.token_length * model.width) + _learnt(model.depth * layer.mean())


def _over_all_leads(model) -> Work:
    """Of MERL's encoders."""
    if model.encoder == "vit":
        tokens = SAMPLES // vit.PATCH
        layer = _layer(tokens, model.width, model.mlp_ratio * model.width)
        return _given(SAMPLES * len(STANDARD) * model.width) + _learnt(model.depth * layer)
    length, products = SAMPLES // 2, 0
    stem = _given(length * resnet.STEM * len(STANDARD) * resnet.WIDTHS[0])
    inputs = resnet.WIDTHS[0]
    bottleneck = model.encoder in resnet.BOTTLENECKS
    for stage, (width, blocks) in enumerate(zip(resnet.WIDTHS, resnet.DEPTHS[model.encoder], strict=True)):
        out = width * (resnet.EXPANSION if bottleneck else 1)
        for block in range(blocks):
            before, length = length, -(-length // 2) if stage and not block else length
            if bottleneck:  # its first convolution comes before the stride
                products += before * inputs * width + length * (3 * width**2 + width * out)
            else:
                products += length * 3 * width * (inputs + out)
            if inputs != out or length != before:
                products += length * inputs * out
            inputs = out
    return stem + _learnt(products)


def _features(model) -> int:
    """How many numbers an ECG is to MERL's encoders."""
    return model.width if model.encoder == "vit" else resnet.width(model.encoder)


def _heads(model, views: bool = True) -> Work:
    """From MERL's features to what is compared with reports, and two views."""
    width = model.projection
    if model.encoder == "vit":
        return _learnt(model.width * width + width**2 + views * 2 * model.width * width)
    length = -(-SAMPLES // 16)
    narrow = length * resnet.width(model.encoder) * width
    # One query: keys and values of all places, and two products with them.
    pool = 2 * (length + 1) * (width**2 + width) + 3 * width**2
    return _learnt(narrow + pool + views * 2 * width**2)


def _bert(sizes: BertSizes, tokens: int, trainable: int, pooling: str, texts: float = 1) -> Work:
    """Of so many texts, each of so many tokens. Only the last layers learn, and the pooler along with them."""
    layer, pooler = _layer(tokens, sizes.width, sizes.mlp_width), sizes.width**2 * (pooling == "pooler")
    forward = 2 * texts * (sizes.depth * layer + pooler)
    if not trainable:
        return Work(forward, forward)
    # What the first of them is given is not learnt: queries, keys and values have no gradient of it.
    backward = 4 * texts * (trainable * layer + pooler) - 2 * texts * 3 * sizes.width**2 * tokens
    return Work(forward, forward + backward)


def _query_network(model, tokens: np.ndarray, queries: int, batch: int) -> Work:
    """All but the first projection of the names."""
    width, depth = model.query_width, model.query_depth
    heads = model.query_heads * model.query_head_width or width
    # What is asked does not depend on the ECG until the first attention to it: once a batch.
    before = queries * width * heads + model.query_self_attention * (4 * width + 2 * queries) * queries * heads
    after = queries * width * (heads + 2 * width * model.query_mlp_ratio)
    memory = 2 * tokens.mean() * heads * (model.width + queries)
    return _learnt(before * (1 / batch + depth - 1)) + _learnt(depth * (after + memory)) + _learnt(queries * width)


def bytes_to_device(batch: dict[str, np.ndarray]) -> float:
    """Bytes an ECG that a batch takes to the device."""
    return sum(x.nbytes for x in batch.values()) / len(batch["index"])


def bytes_seen(config) -> float:
    """Bytes of the samples an ECG that a step makes use of, in 16 bits: of `bytes_to_device`, what is information."""
    rules = methods.rules(config)
    return 2 * (rules.min_leads + rules.max_leads) / 2 * rules.kept * rules.length
