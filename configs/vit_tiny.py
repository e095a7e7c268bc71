"""K-MERL with ViT-Tiny: width 192, depth 12, 3 heads of 64.

    python -m kmerl_jax.train --config=configs/vit_tiny.py                 # demo
    python -m kmerl_jax.train --config=configs/vit_tiny.py:ptb_xl
    python -m kmerl_jax.train --config=configs/vit_tiny.py:mimic

The demo takes 8 min 38 s on two CPU cores (0.95 s a step; up to 12 minutes where they are slower or shared) and ends at
zero-shot macro AUROC 0.921 with 12 leads, 0.829 with lead II, on held-out simulated patients. The mimic recipe has not
been run to its end on MIMIC-IV-ECG. The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("vit_tiny", recipe)
    config.model.width = 192
    config.model.heads = 3
    return config
