"""K-MERL in JAX/Flax: ECG representation learning from reports, with any subset of the 12 leads."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # only so while Python looks for the module of `python -m kmerl_jax.COMMAND`
    from kmerl_jax.hugepages import restart_with_huge_pages

    restart_with_huge_pages()
