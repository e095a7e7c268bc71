"""K-MERL with ViT-Base (width 768, depth 12, 12 heads of 64)."""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_base", recipe)
    config.model.width = 768
    config.model.heads = 12
    return config
