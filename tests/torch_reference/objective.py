"""K-MERL's losses on masked leads: those of `kmerl_jax.training.objective.KMerlObjective`, with frozen texts."""

from collections.abc import Sequence

import jax
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kmerl_jax.models import masking
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENT, SEGMENTS
from kmerl_jax.training import methods
from tests.torch_reference.model import KMerl, Tokens

LAYOUTS = ("grouped", "padded")
_draw = jax.jit(masking.draw, static_argnums=4)
_MICROVOLTS = 200  # the unit of "mv" tokens, see kmerl_jax.models.tokens


def draw(batch: dict, key: jax.Array, rules: masking.Masking) -> dict:
    """A batch of the stream with the tokens that a training step shows, drawn as `KMerlObjective.outputs` draws them.

    Args:
        batch: "index", "presence" and "segments" [B, ...], arrays or tensors of the host, and what else it has.
        key: the run's key for everything random.
        rules: how much is masked.

    Returns:
        The batch with "lead", "token_segment" [B, T] int32 and "valid" [B, T] bool, in numpy's arrays.
    """
    key, _ = jax.random.split(key)
    index = np.asarray(batch["index"], np.uint32)
    drawn = _draw(key, index, np.asarray(batch["presence"]), np.asarray(batch["segments"]), rules)
    return batch | dict(zip(("lead", "token_segment", "valid"), map(np.array, drawn), strict=True))


def cut(signal: Tensor, rows: Tensor, lead: Tensor, segment: Tensor, valid: Tensor) -> Tokens:
    """Takes the named tokens out of windows, in the units of "mv".

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        rows: [N], which windows.
        lead: [N, T].
        segment: [N, T].
        valid: [N, T] bool.
    """
    values = signal.view(len(signal), len(STANDARD), SEGMENTS, SEGMENT)[rows[:, None], lead, segment]
    return Tokens(values.float() / _MICROVOLTS, lead, segment, valid)


def all_tokens(signal: Tensor, leads: Sequence[int]) -> Tokens:
    """Every token of the chosen leads of full windows that have them: what the model sees when it is used.

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        leads: indices of L leads.

    Returns:
        Tokens with T = 50 L.
    """
    values = signal[:, list(leads)].reshape(len(signal), -1, SEGMENT).float() / _MICROVOLTS
    lead = torch.tensor(leads, device=signal.device).repeat_interleave(SEGMENTS)
    segment = torch.arange(SEGMENTS, device=signal.device).repeat(len(leads))
    return Tokens(values, lead.expand(len(signal), -1), segment.expand(len(signal), -1), None)


def contrast(ecg: Tensor, text: Tensor, text_id: Tensor | None, temperature: float) -> Tensor:
    """Symmetric InfoNCE between rows of [B, P] each; rows of equal `text_id` [B] are positives of each other."""
    logits = F.normalize(ecg, dim=1) @ F.normalize(text, dim=1).T / temperature
    if text_id is None:
        target = torch.arange(len(logits), device=logits.device)
    else:
        target = (text_id[:, None] == text_id).float()
        target = target / target.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def entity_presence(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits [B, Q] over the labels [B, Q] int8 that are known (not negative)."""
    known = labels >= 0
    loss = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return torch.where(known, loss, 0.0).sum() / known.sum().clamp(min=1)


class KMerlObjective(nn.Module):
    """The weighted sum of the two losses of a batch.

    Attributes:
        model: the network.
    """

    def __init__(self, config, queries: np.ndarray, layout: str = "grouped"):
        """Args:
            config: a resolved config; `data.normalization` is "mv" and `loss.direction` "symmetric".
            queries: [Q, E] float32, embeddings of the entities' names.
            layout: "grouped": records sorted by their visible leads and cut into parts that have no place for hidden
                leads, as `KMerlObjective` of kmerl_jax does; "padded": all have as many places, and a mask.

        Raises:
            ValueError: a config or layout that is not written here.
        """
        super().__init__()
        if config.data.normalization != "mv" or config.loss.direction != "symmetric" or layout not in LAYOUTS:
            raise ValueError(f"only mv tokens, the symmetric contrast and the layouts {', '.join(LAYOUTS)} are here")
        self.model = KMerl(config.model, queries.shape[1])
        self.register_buffer("queries", torch.tensor(queries), persistent=False)
        self.rules = methods.rules(config)
        self.weights, self.layout = config.loss.to_dict(), layout

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar.

        Args:
            batch: tensors on the model's device: "signal" [B, 12, 5000] int16 in microvolts, "lead", "token_segment",
                "valid" [B, T] of `draw`, "text" [B, E], "text_id" [B], "labels" [B, Q] int8.
        """
        order, parts = self._parts(batch["valid"])
        outs = []
        for rows, places in parts:
            lead, segment, valid = (batch[name][rows, :places] for name in ("lead", "token_segment", "valid"))
            bag = cut(batch["signal"], rows, lead, segment, valid)
            outs.append(self.model(bag, batch["text"][rows], self.queries))
        ecg, text, logits = (torch.cat([out[name] for out in outs]) for name in ("ecg", "text", "logits"))
        # The losses do not depend on the order of the records, so nothing is put back.
        text_id = batch["text_id"][order] if self.weights["duplicates"] else None
        with torch.autocast(logits.device.type, enabled=False):
            contrasted = contrast(ecg, text, text_id, self.weights["temperature"])
            asked = entity_presence(logits, batch["labels"][order])
        return self.weights["contrast"] * contrasted + self.weights["entities"] * asked

    def _parts(self, valid: Tensor) -> tuple[Tensor, list[tuple[Tensor, int]]]:
        """The order [B] in which records are computed, and the parts of it, each with the places that it needs."""
        rules = self.rules
        if self.layout == "padded":
            order = torch.arange(len(valid), device=valid.device)
            return order, [(order, rules.tokens)]
        visible = valid.view(len(valid), rules.max_leads, -1).any(-1).sum(-1)
        order = torch.argsort(visible, descending=True, stable=True)
        a_lead = rules.tokens // rules.max_leads
        return order, [(order[start:stop], n * a_lead) for start, stop, n in rules.groups(len(valid))]
