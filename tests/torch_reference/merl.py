"""MERL (Liu et al. 2024, arXiv 2403.06659) with its ViT: what K-MERL's paper follows and compares with.

Sizes, layers and losses are those of its public code. What there only costs time is left out: attention is fused, the
frozen BERT runs without dropout, and bfloat16 needs no scaling of the loss.
"""

import torch
import transformers
from torch import Tensor, nn

from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES
from tests.torch_reference.model import EncoderLayer
from tests.torch_reference.objective import contrast

PATCH = 50  # samples, of all leads at once
TEXT = 768  # width of BERT-base
TEXT_TOKENS = 256  # of every report, by padding
_EPSILON = 1e-5  # of the layer norms


class Vit(nn.Module):
    """Signals [B, 12, samples] to [B, width]: patches over all leads, pre-LN layers, mean pool, layer norm."""

    def __init__(self, width: int, depth: int, heads: int, ratio: int = 4, samples: int = SAMPLES):
        super().__init__()
        self.patches = nn.Conv1d(len(STANDARD), width, PATCH, PATCH, bias=False)
        self.positions = nn.Parameter(torch.randn(1, samples // PATCH, width))
        layers = (EncoderLayer(width, heads, ratio, _EPSILON, "none") for _ in range(depth))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, _EPSILON)

    def forward(self, signal: Tensor) -> Tensor:
        x = self.patches(signal).transpose(1, 2)
        x = x + self.positions.to(x.dtype)
        for layer in self.layers:
            x = layer(x, None)
        return self.norm(x.mean(1))


class Merl(nn.Module):
    """ECGs, two views of each, and reports, where they are compared.

    Attributes:
        encoder: the ECG encoder.
        views: two linear layers with dropout on the encoder's embedding, which is computed once.
    """

    def __init__(self, sizes, text: int = TEXT, projection: int = 256, dropout: float = 0.1):
        """Args:
        sizes: `config.model` of a resolved config: "width", "depth", "heads", "mlp_ratio".
        text: E, width of the embeddings of texts.
        projection: P.
        dropout: of the views.
        """
        super().__init__()
        self.encoder = Vit(sizes.width, sizes.depth, sizes.heads, sizes.mlp_ratio)
        self.ecg_projector = nn.Sequential(
            nn.Linear(sizes.width, projection),
            nn.BatchNorm1d(projection),
            nn.ReLU(inplace=True),
            nn.Linear(projection, projection),
            nn.BatchNorm1d(projection),
        )
        self.views = nn.ModuleList(
            nn.Sequential(nn.Linear(sizes.width, projection, bias=False), nn.Dropout(dropout)) for _ in range(2)
        )
        self.text_projector = nn.Sequential(nn.Linear(text, projection), nn.GELU(), nn.Linear(projection, projection))

    def forward(self, signal: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Signals [B, 12, 5000] float and texts [B, E] to "ecg", "first", "second" and "text" [B, P] float32."""
        x = self.encoder(signal)
        first, second = (view(x) for view in self.views)
        out = {"ecg": self.ecg_projector(x), "first": first, "second": second, "text": self.text_projector(text)}
        return {name: x.float() for name, x in out.items()}


class MerlObjective(nn.Module):
    """The loss of a batch: contrast of ECGs with reports, and of two views of the ECGs, at temperature 0.07.

    Attributes:
        model: what learns.
    """

    def __init__(self, sizes, bert: transformers.BertConfig | None = None, temperature: float = 0.07, text: int = TEXT):
        """Args:
        sizes: `config.model` of a resolved config.
        bert: sizes of a frozen BERT with random weights that embeds the reports at every step, as published
            (`transformers.BertConfig()` is BERT-base); None: the batch brings embeddings.
        temperature: of both losses.
        text: E, width of the embeddings that a batch brings.
        """
        super().__init__()
        self.model = Merl(sizes, bert.hidden_size if bert else text)
        self.bert = transformers.BertModel(bert).requires_grad_(False) if bert else None
        self.temperature = temperature

    def train(self, mode: bool = True) -> "MerlObjective":
        """The BERT stays as it is when it is used."""
        super().train(mode)
        if self.bert is not None:
            self.bert.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar.

        Args:
            batch: "signal" [B, 12, 5000] int16, thousandths of the signal's unit (MERL's are of its whole range), and
                "text" [B, E], or "text_tokens" [B, 256] integers and "text_valid" [B, 256] bool.
        """
        if self.bert is None:
            text = batch["text"]
        else:
            with torch.no_grad():
                text = self.bert(batch["text_tokens"], batch["text_valid"]).pooler_output
        out = self.model(batch["signal"].float() / 1000, text)
        with torch.autocast(text.device.type, enabled=False):
            reports = contrast(out["ecg"], out["text"], None, self.temperature)
            return reports + contrast(out["first"], out["second"], None, self.temperature)
