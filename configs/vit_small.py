"""K-MERL with ViT-Small: width 384, depth 12, 6 heads of 64.

    python -m kmerl_jax.train --config=configs/vit_small.py                 # demo
    python -m kmerl_jax.train --config=configs/vit_small.py:ptb_xl
    python -m kmerl_jax.train --config=configs/vit_small.py:mimic

It has not been run to its end.
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_small", recipe)
    config.model.width = 384
    config.model.heads = 6
    return config
