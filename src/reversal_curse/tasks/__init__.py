"""The tasks: what a model is trained on and asked. Nothing in this package knows of torch."""
