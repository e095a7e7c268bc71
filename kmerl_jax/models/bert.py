"""BERT (Devlin et al. 2018), post-LN, in Linen: the kind of text encoder that reads reports and names of entities."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.transformer import Attention, Dtype, dense_rows, layer_norm, stacked

ACTIVATIONS = {
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_new": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu,
    "relu": nn.relu,
    "silu": nn.silu,
    "swish": nn.silu,
}
"""By their names in a checkpoint's `config.json`."""
POOLINGS = ("mean", "cls", "pooler")


@dataclasses.dataclass(frozen=True)
class BertSizes:
    """What a checkpoint's `config.json` decides.

    Attributes:
        vocabulary: number of tokens that can be told apart.
        width: D.
        depth: number of layers.
        heads: attention heads of a layer.
        mlp_width: hidden width of the MLPs.
        positions: longest text, in tokens.
        types: token types; single texts are all of type 0.
        activation: one of `ACTIVATIONS`.
        epsilon: of the layer norms.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    positions: int
    types: int
    activation: str
    epsilon: float


class BertEmbeddings(nn.Module):
    """A token's vector: the sum of those of its word, its position and its type, normalised."""

    sizes: BertSizes

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """[N, L] int32 to [N, L, D] float32."""
        sizes = self.sizes
        x = nn.Embed(sizes.vocabulary, sizes.width, name="word")(ids)
        x = x + nn.Embed(sizes.positions, sizes.width, name="position")(jnp.arange(ids.shape[1]))[None]
        x = x + nn.Embed(sizes.types, sizes.width, name="type")(jnp.zeros((1, 1), jnp.int32))
        return layer_norm("norm", sizes.epsilon)(x)


class BertLayer(nn.Module):
    """Self-attention among the valid tokens, then an MLP, each normalised after it is added.

    Attributes:
        sizes: of the model.
        dropout: rate at which what is added is dropped, where a "dropout" key is given.
        dtype: of the matrix products.
    """

    sizes: BertSizes
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> tuple[jax.Array, None]:
        """[N, L, D] and [N, L] bool to [N, L, D]; the None is what `nn.scan` stacks."""
        sizes = self.sizes
        y = x.astype(self.dtype)
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        y = Attention(sizes.heads, self.dtype, name="attention")(y, y, valid)
        x = layer_norm("attention_norm", sizes.epsilon)(x + drop(y))
        y = dense_rows(x.astype(self.dtype), sizes.mlp_width, self.dtype, "up")
        y = dense_rows(ACTIVATIONS[sizes.activation](y), sizes.width, self.dtype, "down")
        return layer_norm("mlp_norm", sizes.epsilon)(x + drop(y)), None


class Bert(nn.Module):
    """Texts to their pooled embeddings.

    The parameters are in groups: "embeddings" and "lower" layers, which stay as they are, and "upper" layers and
    "pooler", which can be trained.

    Attributes:
        sizes: of the model.
        pooling: one of `POOLINGS`: mean over the valid tokens; the first token; the first token through the pooler, a
            dense layer and tanh.
        trainable_layers: how many of the last layers are "upper".
        dropout: of the upper layers, where a "dropout" key is given; the others never drop.
        dtype: of the matrix products; parameters, norms and softmax are float32.
        remat: of the upper layers, see `stacked`; the others have no backward pass.
    """

    sizes: BertSizes
    pooling: str = "mean"
    trainable_layers: int = 0
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    remat: bool = False

    def setup(self):
        def layers(depth: int, dropout: float, remat: bool) -> nn.Module:
            return stacked(BertLayer, depth, inputs=1, remat=remat)(self.sizes, dropout, self.dtype)

        self.embeddings = BertEmbeddings(self.sizes)
        lower = self.sizes.depth - self.trainable_layers
        if lower:
            self.lower = layers(lower, 0.0, False)
        if self.trainable_layers:
            self.upper = layers(self.trainable_layers, self.dropout, self.remat)
        if self.pooling == "pooler":
            self.pooler = nn.Dense(self.sizes.width)

    def __call__(self, ids: jax.Array, valid: jax.Array) -> jax.Array:
        """[N, L] int32 and [N, L] bool to [N, D] float32. What stands at a place that is not valid means nothing."""
        x = self.states(ids, valid)
        if self.pooling == "mean":
            weight = valid[..., None].astype(x.dtype)
            return (x * weight).sum(1) / jnp.maximum(weight.sum(1), 1)
        return jnp.tanh(self.pooler(x[:, 0])) if self.pooling == "pooler" else x[:, 0]

    def states(self, ids: jax.Array, valid: jax.Array) -> jax.Array:
        """Hidden states [N, L, D] float32 after the last layer."""
        x = self.embeddings(ids)
        if self.trainable_layers < self.sizes.depth:
            x, _ = self.lower(x, valid)
        if self.trainable_layers:
            x, _ = self.upper(x, valid)
        return x
