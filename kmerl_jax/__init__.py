"""K-MERL in JAX/Flax: ECG representation learning from reports, with any subset of the 12 leads."""

__version__ = "0.1.0"
