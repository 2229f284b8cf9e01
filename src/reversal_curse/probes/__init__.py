"""Probes: what is read off a trained model. They know models, never training."""
