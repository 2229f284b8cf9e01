"""The large-scale check of Jeon et al. 2026: the probes on pretrained models.

`entry.py` is what the Snakefile reads and imports neither torch nor transformers. From there
imports go one way: facts, layout, loading, then the measures, then `probe.py`, which calls them.
"""
