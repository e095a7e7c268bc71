"""Objectives, losses, optimiser, input stream, sharding, checkpoints, metric writers."""
