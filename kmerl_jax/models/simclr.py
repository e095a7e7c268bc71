"""SimCLR (Chen et al. 2020, arXiv 2002.05709): an ECG encoder that learns from ECGs alone, and so knows no names."""

import flax.linen as nn
import jax

from kmerl_jax.models.merl import NormedMlp
from kmerl_jax.models.resnet import ResNet
from kmerl_jax.models.tokens import Form, Tokens, one
from kmerl_jax.models.vit import Vit


class SimClr(nn.Module):
    """The encoder, and where two views of an ECG are compared.

    Attributes:
        encoder: of ECGs, as MERL has them: missing leads are zero.
        projection: P, width of the space where views are compared.
    """

    encoder: ResNet | Vit
    projection: int = 256

    def setup(self):
        self.projector = NormedMlp(self.projection, self.encoder.dtype)

    @property
    def scores(self) -> tuple[str, ...]:
        """It cannot be asked by name."""
        return ()

    def __call__(self, tokens: Tokens) -> jax.Array:
        """[B, P] float32, before it is brought to length one."""
        return self.projector(self.pooled(tokens))

    def init_params(self, key: jax.Array, form: Form, text_width: int) -> dict:
        """Parameters, for tokens of a form; texts are not looked at."""
        del text_width
        return self.init(key, one(form))["params"]

    def describe(self, tokens: Tokens, queries: jax.Array) -> dict[str, jax.Array]:
        """As `embedded`, whatever is asked."""
        del queries
        return self.embedded(tokens)

    def embedded(self, tokens: Tokens) -> dict[str, jax.Array]:
        """The encoder's features, "pooled" [B, D]."""
        return {"pooled": self.pooled(tokens)}

    def pooled(self, tokens: Tokens) -> jax.Array:
        """The same, [B, D]."""
        return self.encoder.pooled(tokens)
