"""The reversal curse, measured: tasks, models, training, probes and figures."""

__version__ = "0.1.0"
