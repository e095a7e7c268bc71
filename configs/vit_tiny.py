"""K-MERL with ViT-Tiny (width 192, depth 12, 3 heads of 64)."""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_tiny", recipe)
    config.model.width = 192
    config.model.heads = 3
    return config
