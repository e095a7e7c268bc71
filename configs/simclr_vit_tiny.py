"""SimCLR with a ViT-Tiny over patches of all 12 leads: the same ECGs, without their reports (arXiv 2002.05709).

    python -m kmerl_jax.train --config=configs/simclr_vit_tiny.py                 # demo
    python -m kmerl_jax.train --config=configs/simclr_vit_tiny.py:ptb_xl
    python -m kmerl_jax.train --config=configs/simclr_vit_tiny.py:mimic

The demo took 16 minutes on two CPU cores, with other work beside it. A linear probe on 500 records then has a macro
AUROC of 0.852 with 12 leads (0.699 with lead II, 0.681 with lead I), one on its random encoder 0.742 (0.627, 0.587).

Other encoders: --config.model.encoder=resnet18, resnet34, resnet50 or resnet101.
The fields are in kmerl_jax/config.py.
"""

from kmerl_jax.config import base


def get_config(recipe="demo"):
    """The config of a recipe: demo, ptb_xl or mimic."""
    config = base("simclr_vit_tiny", recipe)
    config.method = "simclr"
    config.masking.max_leads = 12  # a view shows from 1 to 12
    config.text.encoder = "lexical"  # nothing is read
    config.model.width = 192
    config.model.heads = 3
    return config
