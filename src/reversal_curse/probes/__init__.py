"""What is measured on models in training besides the metrics: one module per table.

A module has `probe(learner)`, which returns a DataFrame, and `WHEN`: after the last epoch (`end`),
or also during training (`dense`, `sparse`: see `training/observer.py`). Families name their probes.
"""
