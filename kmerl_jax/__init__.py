"""K-MERL in JAX/Flax: ECG representation learning from reports, with any subset of the 12 leads.

model = kmerl_jax.load("runs/vit_tiny-demo")
ecg = kmerl_jax.read("recording.dcm")
model.findings(ecg, ["atrial fibrillation", "left bundle branch block"])
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmerl_jax.prediction.model import Model, load
    from kmerl_jax.signals.arrays import Layout
    from kmerl_jax.signals.files import read
    from kmerl_jax.signals.leads import STANDARD
    from kmerl_jax.signals.waveform import Ecg

__version__ = "0.1.0"

# What users import from here, and where it is: `import kmerl_jax` itself imports nothing and touches no device.
_PUBLIC = {
    "load": "kmerl_jax.prediction.model",
    "Model": "kmerl_jax.prediction.model",
    "read": "kmerl_jax.signals.files",
    "Layout": "kmerl_jax.signals.arrays",
    "Ecg": "kmerl_jax.signals.waveform",
    "STANDARD": "kmerl_jax.signals.leads",
}
__all__ = ["STANDARD", "Ecg", "Layout", "Model", "load", "read"]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


if sys.argv[:1] == ["-m"]:  # only so while Python looks for the module of `python -m kmerl_jax.COMMAND`
    from kmerl_jax.hugepages import restart_with_huge_pages

    restart_with_huge_pages()
