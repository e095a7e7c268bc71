"""MERL with a ViT-Tiny over patches of all 12 leads, the missing ones zero (arXiv 2403.06659).

    python -m kmerl_jax.train --config=configs/merl_vit_tiny.py                 # demo
    python -m kmerl_jax.train --config=configs/merl_vit_tiny.py:ptb_xl
    python -m kmerl_jax.train --config=configs/merl_vit_tiny.py:mimic
    python -m kmerl_jax.train --config=configs/merl_vit_tiny.py --config.masking.min_leads=1  # random lead masking

The demo takes 7 minutes on two CPU cores. A linear probe on all labels then has a macro AUROC of 0.900
(docs/tables/table_1.md).

Larger ones: --config.model.width=384, 512 or 768 and --config.model.heads=6, 8 or 12 (Small, Middle, Base).
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base, merl


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = merl(base("merl_vit_tiny", recipe))
    config.model.width = 192
    config.model.heads = 3
    return config
