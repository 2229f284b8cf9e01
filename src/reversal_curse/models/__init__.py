"""The families: what is trained. Models know nothing of training."""
