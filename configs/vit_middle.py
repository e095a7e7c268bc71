"""K-MERL with ViT-Middle: width 512, depth 12, 8 heads of 64.

    python -m kmerl_jax.train --config=configs/vit_middle.py                 # demo
    python -m kmerl_jax.train --config=configs/vit_middle.py:ptb_xl
    python -m kmerl_jax.train --config=configs/vit_middle.py:mimic

It has not been run to its end.
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_middle", recipe)
    config.model.width = 512
    config.model.heads = 8
    return config
