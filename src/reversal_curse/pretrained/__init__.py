"""The large-scale check of Jeon et al. 2026: the probes on pretrained models.

What the Snakefile reads (entry, checkpoint, facts) imports neither torch nor transformers.
"""
