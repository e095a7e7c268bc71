"""K-MERL as PyTorch modules: the mathematics of `kmerl_jax.models.kmerl.KMerl`, under the same names."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENT, SEGMENTS

EPSILON = 1e-6  # of the layer norms


class Tokens(NamedTuple):
    """Tokens of a batch of ECGs.

    Attributes:
        values: [B, T, 100] float32, normalised; what stands where nothing is valid has no effect.
        lead: [B, T] integers, index in the standard order.
        segment: [B, T] integers, 0 to 49.
        valid: [B, T] bool, with one valid token an ECG at least; None: all are, and attention needs no mask.
    """

    values: Tensor
    lead: Tensor
    segment: Tensor
    valid: Tensor | None

    @property
    def mask(self) -> Tensor | None:
        """[B, 1, 1, T] bool, which tokens may be looked at."""
        return None if self.valid is None else self.valid[:, None, None]


def heads_of(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[B, T, parts D] to as many [B, heads, T, D / heads]."""
    return x.view(*x.shape[:2], parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """[B, heads, T, D / heads] each, to [B, T, D]."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head attention of [B, T, width] over itself; query, key and value are one matrix product."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.out(attend(*heads_of(self.qkv(x), 3, self.heads), mask))


class CrossAttention(nn.Module):
    """Multi-head attention of [B, Q, width] over [B, T, memory]; key and value are one matrix product."""

    def __init__(self, width: int, memory: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        (query,) = heads_of(self.query(x), 1, self.heads)
        return self.out(attend(query, *heads_of(self.key_value(memory), 2, self.heads), mask))


class Mlp(nn.Module):
    """Two linear layers with GELU between, approximated as `torch.nn.functional.gelu` says."""

    def __init__(self, width: int, ratio: int, approximate: str = "tanh"):
        super().__init__()
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class LeadEmbedding(nn.Module):
    """A token's vector, [gain *] W e + lead + temp; [B, T, width] in the precision of the matrix products."""

    def __init__(self, width: int, gains: bool):
        super().__init__()
        self.projection = nn.Linear(SEGMENT, width, bias=False)
        self.lead = nn.Parameter(0.5 * torch.randn(len(STANDARD), width))
        self.temporal = nn.Parameter(0.1 * torch.randn(SEGMENTS, width))
        self.gain = nn.Parameter(torch.ones(len(STANDARD), width)) if gains else None

    def forward(self, tokens: Tokens) -> Tensor:
        x = self.projection(tokens.values)
        if self.gain is not None:
            x = x * F.embedding(tokens.lead, self.gain.to(x.dtype))
        x = x + F.embedding(tokens.lead, self.lead.to(x.dtype))
        return x + F.embedding(tokens.segment, self.temporal.to(x.dtype))


class EncoderLayer(nn.Module):
    """Pre-LN self-attention among the valid tokens, then an MLP: [B, T, width] to the same."""

    def __init__(self, width: int, heads: int, ratio: int, epsilon: float = EPSILON, approximate: str = "tanh"):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, epsilon)
        self.attention = SelfAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width, epsilon)
        self.mlp = Mlp(width, ratio, approximate)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.mlp(self.mlp_norm(x))


class Encoder(nn.Module):
    """Tokens to features [B, T, width]."""

    def __init__(self, width: int, depth: int, heads: int, ratio: int, gains: bool):
        super().__init__()
        self.embedding = LeadEmbedding(width, gains)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, tokens: Tokens) -> Tensor:
        x, mask = self.embedding(tokens), tokens.mask
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class QueryLayer(nn.Module):
    """Queries [B, Q, width] look at each other (an option), then at features [B, T, memory], then an MLP."""

    def __init__(self, width: int, memory: int, heads: int, ratio: int, self_attention: bool):
        super().__init__()
        if self_attention:
            self.self_attention_norm = nn.LayerNorm(width, EPSILON)
            self.self_attention = SelfAttention(width, heads)
        else:
            self.self_attention = None
        self.cross_attention_norm = nn.LayerNorm(width, EPSILON)
        self.cross_attention = CrossAttention(width, memory, heads)
        self.mlp_norm = nn.LayerNorm(width, EPSILON)
        self.mlp = Mlp(width, ratio)

    def forward(self, x: Tensor, features: Tensor, mask: Tensor | None) -> Tensor:
        if self.self_attention is not None:
            x = x + self.self_attention(self.self_attention_norm(x), None)
        x = x + self.cross_attention(self.cross_attention_norm(x), features, mask)
        return x + self.mlp(self.mlp_norm(x))


class QueryNetwork(nn.Module):
    """Queries [Q, E] to logits [B, Q] float32, from features [B, T, memory]."""

    def __init__(self, text: int, memory: int, width: int, depth: int, heads: int, ratio: int, self_attention: bool):
        super().__init__()
        self.projection = nn.Linear(text, width)
        self.projection_norm = nn.LayerNorm(width, EPSILON)
        layers = (QueryLayer(width, memory, heads, ratio, self_attention) for _ in range(depth))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.classifier = nn.Linear(width, 1)

    def forward(self, queries: Tensor, features: Tensor, mask: Tensor | None) -> Tensor:
        x = self.projection(queries)
        features = features.to(x.dtype)  # once, not in every layer by autocast
        x = self.projection_norm(x).expand(len(features), -1, -1)
        for layer in self.layers:
            x = layer(x, features, mask)
        with torch.autocast(x.device.type, enabled=False):
            return self.classifier(self.norm(x.float()))[..., 0]


class Projector(nn.Module):
    """[B, E] to [B, width] float32."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.norm(self.hidden(x)), approximate="tanh")).float()


class KMerl(nn.Module):
    """The whole model. Its values begin as PyTorch's defaults; `load_flax` gives it those of a Flax model."""

    def __init__(self, sizes, text: int):
        """Args:
        sizes: `config.model` of a resolved config.
        text: E, width of the embeddings of texts.
        """
        super().__init__()
        self.encoder = Encoder(sizes.width, sizes.depth, sizes.heads, sizes.mlp_ratio, sizes.lead_gain > 0)
        self.ecg_projector = Projector(sizes.width, sizes.projection)
        self.text_projector = Projector(text, sizes.projection)
        self.query_network = QueryNetwork(
            text,
            sizes.width,
            sizes.query_width,
            sizes.query_depth,
            sizes.query_heads,
            sizes.query_mlp_ratio,
            sizes.query_self_attention,
        )

    def forward(self, tokens: Tokens, text: Tensor, queries: Tensor) -> dict[str, Tensor]:
        """Tokens of B ECGs, text [B, E] and queries [Q, E] to "ecg" and "text" [B, P] and "logits" [B, Q]."""
        out = self.describe(tokens, queries)
        return {"ecg": out["ecg"], "text": self.text_projector(text), "logits": out["logits"]}

    def describe(self, tokens: Tokens, queries: Tensor) -> dict[str, Tensor]:
        """What can be said of ECGs without their reports: "logits" [B, Q], "ecg" [B, P], "pooled" [B, D]."""
        features = self.encoder(tokens)
        pooled = mean_pool(features, tokens.valid)
        return {
            "logits": self.query_network(queries, features, tokens.mask),
            "ecg": self.ecg_projector(pooled),
            "pooled": pooled,
        }


def mean_pool(features: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of [B, T, D] over the valid tokens, [B, D]."""
    if valid is None:
        return features.mean(1)
    weight = valid[..., None].to(features.dtype)
    return (features * weight).sum(1) / weight.sum(1).clamp(min=1)
