"""MERL (Liu et al. 2024, arXiv 2403.06659): what K-MERL's paper follows and compares with, in PyTorch.

Sizes, layers, losses and the names of the parameters are those of its public code, so that its weights would load. What
there only costs time is left out: attention is fused, the frozen BERT runs without dropout, and bfloat16 needs no
scaling of the loss.
"""

import torch
import transformers
from torch import Tensor, nn

from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES
from tests.torch_reference.model import attend, heads_of
from tests.torch_reference.objective import contrast

PATCH = 50  # samples, of all leads at once
TEXT = 768  # width of BERT-base
TEXT_TOKENS = 256  # of every report, by padding
HEAD = 64  # width of a head of the ViT
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class PreNorm(nn.Module):
    """A layer behind a layer norm."""

    def __init__(self, width: int, fn: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class SelfAttention(nn.Module):
    """Multi-head attention of [B, T, width] over itself."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out(attend(*heads_of(self.to_qkv(x), 3, self.heads), None))


class FeedForward(nn.Module):
    """Two linear layers with GELU between; the published dropouts are of 0."""

    def __init__(self, width: int, ratio: int):
        super().__init__()
        layers = nn.Linear(width, ratio * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(ratio * width, width)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class VitBlock(nn.Module):
    """A pre-LN transformer layer."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.attn = PreNorm(width, SelfAttention(width, heads))
        self.ff = PreNorm(width, FeedForward(width, ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn(x) + x
        return self.ff(x) + x


class Vit(nn.Module):
    """Signals [B, 12, 5000] to [B, width]: patches over all leads, layers, mean over patches, layer norm."""

    def __init__(self, width: int, depth: int = 12, heads: int | None = None, ratio: int = 4):
        super().__init__()
        self.depth = depth
        self.to_patch_embedding = nn.Conv1d(len(STANDARD), width, PATCH, PATCH, bias=False)
        self.pos_embedding = nn.Parameter(torch.randn(1, SAMPLES // PATCH, width))
        for n in range(depth):
            self.add_module(f"block{n}", VitBlock(width, heads or width // HEAD, ratio))
        self.norm = nn.LayerNorm(width)

    def forward(self, signal: Tensor) -> Tensor:
        x = self.to_patch_embedding(signal).transpose(1, 2)
        x = x + self.pos_embedding.to(x.dtype)
        for n in range(self.depth):
            x = getattr(self, f"block{n}")(x)
        return self.norm(x.mean(1))


class ResNetBlock(nn.Module):
    """A residual block of two convolutions of 3, or a bottleneck of 1, 3 and 1."""

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool):
        super().__init__()
        out = 4 * channels if bottleneck else channels
        sizes = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        widths = [inputs, channels, channels, out] if bottleneck else [inputs, channels, out]
        self.layers = len(sizes)
        for n, (kernel, step) in enumerate(sizes):
            conv = nn.Conv1d(widths[n], widths[n + 1], kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{n + 1}", conv)
            self.add_module(f"bn{n + 1}", nn.BatchNorm1d(widths[n + 1]))
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != out:
            self.shortcut = nn.Sequential(nn.Conv1d(inputs, out, 1, stride, bias=False), nn.BatchNorm1d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for n in range(1, self.layers + 1):
            y = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(torch.relu(y) if n > 1 else y))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Signals [B, 12, 5000] to [B, C, 313]. `linear` is not used: the published model has it all the same."""

    def __init__(self, name: str):
        super().__init__()
        bottleneck = name in ("resnet50", "resnet101")
        self.conv1 = nn.Conv1d(len(STANDARD), 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm1d(64)
        self.channels = 64
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), BLOCKS[name], strict=True)):
            blocks = []
            for n in range(count):
                blocks.append(ResNetBlock(self.channels, width, 2 if stage and not n else 1, bottleneck))
                self.channels = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(self.channels, 10)

    def forward(self, signal: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(signal)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x


class AttentionPool(nn.Module):
    """What a learnt token sees of [B, P, 313], [B, P]."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, length + 1, width) / width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa = nn.MultiheadAttention(width, 4, batch_first=True)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        token = (self.cls_token + self.positional_embedding[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([token, x.permute(0, 2, 1)], 1) + self.positional_embedding
        x, _ = self.mhsa(x[:, :1], x, x, need_weights=False)
        return self.c_proj(x)[:, 0]


class Merl(nn.Module):
    """ECGs, two views of each, and reports, where they are compared.

    Attributes:
        ecg_encoder: the ECG encoder.
        linear1: with `linear2`, two views of the encoder's embedding, which is computed once.
    """

    def __init__(
        self,
        encoder: ResNet | Vit,
        text: int = TEXT,
        projection: int = 256,
        dropout: float = 0.1,
        bert: transformers.BertConfig | None = None,
    ):
        """Args:
        encoder: of ECGs.
        text: E, width of the embeddings of texts.
        projection: P.
        dropout: of the views.
        bert: of a BERT with random weights that embeds texts; None: they come embedded.
        """
        super().__init__()
        self.ecg_encoder = encoder
        if isinstance(encoder, ResNet):
            self.downconv = nn.Conv1d(encoder.channels, projection, 1)
            self.att_pool_head = AttentionPool(SAMPLES // 16 + 1, projection)
            seen = projection
        else:
            seen = encoder.norm.normalized_shape[0]
            self.proj_e = nn.Sequential(
                nn.Linear(seen, projection),
                nn.BatchNorm1d(projection),
                nn.ReLU(inplace=True),
                nn.Linear(projection, projection),
                nn.BatchNorm1d(projection),
            )
        self.linear1 = nn.Linear(seen, projection, bias=False)
        self.linear2 = nn.Linear(seen, projection, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.proj_t = nn.Sequential(nn.Linear(text, projection), nn.GELU(), nn.Linear(projection, projection))
        self.lm_model = transformers.BertModel(bert).requires_grad_(False) if bert else None

    def train(self, mode: bool = True) -> "Merl":
        """The BERT stays as it is when it is used."""
        super().train(mode)
        if self.lm_model is not None:
            self.lm_model.eval()
        return self

    def forward(self, signal: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Signals [B, 12, 5000] float and texts [B, E] to "ecg", "first", "second" and "text" [B, P] float32."""
        x = self.ecg_encoder(signal)
        if isinstance(self.ecg_encoder, ResNet):
            x = self.downconv(x)
            ecg, x = self.att_pool_head(x), x.mean(2)
        else:
            ecg = self.proj_e(x)
        first, second = (self.dropout(linear(x)) for linear in (self.linear1, self.linear2))
        out = {"ecg": ecg, "first": first, "second": second, "text": self.proj_t(text)}
        return {name: x.float() for name, x in out.items()}


class MerlObjective(nn.Module):
    """The loss of a batch: contrast of ECGs with reports, and of two views of the ECGs, at temperature 0.07.

    Attributes:
        model: what learns.
    """

    def __init__(self, sizes, bert: transformers.BertConfig | None = None, temperature: float = 0.07, text: int = TEXT):
        """Args:
        sizes: `config.model` of a resolved config; whatever the method, "vit" is MERL's ViT of these sizes.
        bert: sizes of a frozen BERT with random weights that embeds the reports at every step, as published
            (`transformers.BertConfig()` is BERT-base); None: the batch brings embeddings.
        temperature: of both losses.
        text: E, width of the embeddings that a batch brings.
        """
        super().__init__()
        if sizes.encoder == "vit":
            encoder = Vit(sizes.width, sizes.depth, sizes.heads, sizes.mlp_ratio)
        else:
            encoder = ResNet(sizes.encoder)
        self.model = Merl(encoder, bert.hidden_size if bert else text, sizes.projection, bert=bert)
        self.temperature = temperature

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar.

        Args:
            batch: "signal" [B, 12, 5000] int16, thousandths of the signal's unit (MERL's are of its whole range), and
                "text" [B, E], or "text_tokens" [B, 256] integers and "text_valid" [B, 256] bool.
        """
        if self.model.lm_model is None:
            text = batch["text"]
        else:
            with torch.no_grad():
                text = self.model.lm_model(batch["text_tokens"], batch["text_valid"]).pooler_output
        out = self.model(batch["signal"].float() / 1000, text)
        with torch.autocast(text.device.type, enabled=False):
            reports = contrast(out["ecg"], out["text"], None, self.temperature)
            return reports + contrast(out["first"], out["second"], None, self.temperature)
