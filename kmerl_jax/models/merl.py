"""MERL (Liu et al. 2024, arXiv 2403.06659): an ECG encoder over all 12 leads, and where ECGs and reports are compared.

It takes the same bag of tokens as K-MERL and places them in a window of 12 leads that is zero elsewhere: missing leads
are zero-filled, as K-MERL's paper has it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kmerl_jax.models.batch_norm import BatchNorm
from kmerl_jax.models.resnet import ResNet
from kmerl_jax.models.tokens import Form, Tokens, one
from kmerl_jax.models.transformer import Attention, Dtype
from kmerl_jax.models.vit import Vit

_POOL_HEADS = 4


class AttentionPool(nn.Module):
    """One vector from features over time: what a learnt token sees by attention.

    Attributes:
        dtype: of the matrix products.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, P] to [B, P]."""
        _, length, width = x.shape
        token = self.param("token", nn.initializers.normal(1.0), (1, width))
        position = self.param("position", nn.initializers.normal(1 / width), (length + 1, width))
        # The published code adds the token's position twice.
        token = jnp.broadcast_to((token + position[:1])[None].astype(x.dtype), (len(x), 1, width))
        x = jnp.concatenate([token, x], axis=1) + position[None].astype(x.dtype)
        seen = Attention(_POOL_HEADS, self.dtype, name="attention")(x[:, :1], x, None)
        return nn.Dense(width, dtype=self.dtype, name="out")(seen[:, 0])


class Mlp(nn.Module):
    """Two dense layers with GELU between, of texts.

    Attributes:
        width: of both.
        dtype: of the matrix products.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, E] to [B, width] float32."""
        x = nn.gelu(nn.Dense(self.width, dtype=self.dtype, name="hidden")(x), approximate=False)
        return nn.Dense(self.width, dtype=self.dtype, name="out")(x).astype(jnp.float32)


class NormedMlp(nn.Module):
    """Two dense layers, each with batch normalisation, with ReLU between: of what a ViT says of ECGs.

    Attributes:
        width: of both.
        dtype: of the matrix products.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D] to [B, width] float32."""
        x = nn.Dense(self.width, dtype=self.dtype, name="hidden")(x)
        x = nn.relu(BatchNorm(name="hidden_norm")(x))
        return BatchNorm(name="out_norm")(nn.Dense(self.width, dtype=self.dtype, name="out")(x))


class ResNetHead(nn.Module):
    """From a ResNet's features to what is compared with reports, and what two views are made of.

    Attributes:
        width: P.
        dtype: of the matrix products.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, S, C] to [B, P] and [B, P], float32."""
        x = nn.Dense(self.width, dtype=self.dtype, name="narrow")(features)
        ecg = AttentionPool(self.dtype, name="pool")(x)
        return ecg.astype(jnp.float32), x.astype(jnp.float32).mean(1)


class VitHead(nn.Module):
    """The same of a ViT, whose own vector the views are made of.

    Attributes:
        width: P.
        dtype: of the matrix products.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, D] to [B, P] and [B, D], float32."""
        return NormedMlp(self.width, self.dtype, name="projector")(features), features


class Merl(nn.Module):
    """The whole model, over embeddings of texts that a text encoder made.

    Attributes:
        encoder: of ECGs.
        projection: P, width of the space where ECGs and reports are compared; 0: the encoder alone, without heads.
    """

    encoder: ResNet | Vit
    projection: int = 256

    def setup(self):
        if self.projection:
            dtype = self.encoder.dtype
            head = VitHead if isinstance(self.encoder, Vit) else ResNetHead
            self.head = head(self.projection, dtype)
            self.views = [nn.Dense(self.projection, use_bias=False, dtype=dtype) for _ in range(2)]
            self.text_projector = Mlp(self.projection, dtype)

    @property
    def scores(self) -> tuple[str, ...]:
        """How it can be asked by name: by cosines, if there are heads."""
        return ("cosine",) if self.projection else ()

    def __call__(self, tokens: Tokens, text: jax.Array, kept: jax.Array | None = None) -> dict[str, jax.Array]:
        """Everything the training losses need.

        Args:
            tokens: of B ECGs.
            text: [B, E], embeddings of their reports.
            kept: [B, 2, P], by what the two views of each ECG are multiplied (dropout); None: by 1.

        Returns:
            "ecg", "text", "first" and "second" [B, P] float32, before they are brought to length one.
        """
        ecg, seen = self.head(self.encoder(tokens))
        first, second = (view(seen).astype(jnp.float32) for view in self.views)
        if kept is not None:
            first, second = first * kept[:, 0], second * kept[:, 1]
        return {"ecg": ecg, "text": self.text_projector(text), "first": first, "second": second}

    def init_params(self, key: jax.Array, form: Form, text_width: int) -> dict:
        """Parameters, for tokens of a form and embeddings [*, text_width] of texts."""
        if not self.projection:
            return self.init(key, one(form), method="pooled")["params"]
        return self.init(key, one(form), jnp.zeros((1, text_width)))["params"]

    def describe(self, tokens: Tokens, queries: jax.Array) -> dict[str, jax.Array]:
        """What can be said of ECGs without their reports.

        Args:
            tokens: of B ECGs.
            queries: [Q, E], embeddings of names or prompts.

        Returns:
            "logits" [B, Q], the cosines of the ECGs and the projected texts; "ecg" and "pooled" as of `embedded`.
        """
        out = self.embedded(tokens)
        if not self.projection:
            return out
        text = self.text_projector(queries)
        return out | {"logits": optax.cosine_similarity(out["ecg"][:, None], text[None], epsilon=1e-8)}

    def embedded(self, tokens: Tokens) -> dict[str, jax.Array]:
        """The encoder's features, "pooled" [B, D]; and "ecg" [B, P], to be compared with texts, if there are heads."""
        features = self.encoder(tokens)
        pooled = self.encoder.mean(features)
        return {"pooled": pooled, "ecg": self.head(features)[0]} if self.projection else {"pooled": pooled}

    def pooled(self, tokens: Tokens) -> jax.Array:
        """The encoder's part of `embedded` alone: [B, D]."""
        return self.encoder.pooled(tokens)

    def project_text(self, text: jax.Array) -> jax.Array:
        """Embeddings of texts [B, E] to [B, P], to be compared with projected ECGs."""
        return self.text_projector(text)
