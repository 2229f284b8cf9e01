"""The probes on pretrained models: the large-scale check of Jeon et al. 2026."""
