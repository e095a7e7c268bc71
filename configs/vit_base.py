"""K-MERL with ViT-Base: width 768, depth 12, 12 heads of 64.

    python -m kmerl_jax.train --config=configs/vit_base.py                 # demo
    python -m kmerl_jax.train --config=configs/vit_base.py:ptb_xl
    python -m kmerl_jax.train --config=configs/vit_base.py:mimic

It has not been run to its end.
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_base", recipe)
    config.model.width = 768
    config.model.heads = 12
    return config
