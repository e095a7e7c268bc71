"""Metrics with intervals, zero-shot classification, linear probe, tables and pictures."""
