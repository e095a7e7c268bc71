"""MERL with a ResNet-18 over all 12 leads, the missing ones zero (arXiv 2403.06659).

    python -m kmerl_jax.train --config=configs/merl_resnet18.py                 # demo
    python -m kmerl_jax.train --config=configs/merl_resnet18.py:ptb_xl
    python -m kmerl_jax.train --config=configs/merl_resnet18.py:mimic
    python -m kmerl_jax.train --config=configs/merl_resnet18.py --config.masking.min_leads=1  # random lead masking

The demo takes 17 to 20 minutes on two CPU cores. A linear probe on all labels then has a macro AUROC of 0.909, one on a
random ResNet 0.797 (docs/tables/table_1.md).

Larger ones: --config.model.encoder=resnet34, resnet50 or resnet101.
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base, merl


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = merl(base("merl_resnet18", recipe))
    config.model.encoder = "resnet18"
    return config
