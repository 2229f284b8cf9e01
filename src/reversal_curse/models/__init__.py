"""The models that are trained; they know nothing of training."""
