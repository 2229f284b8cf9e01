"""The reversal curse, measured: models, training, probes, claims and figures."""

__version__ = "0.1.0"
