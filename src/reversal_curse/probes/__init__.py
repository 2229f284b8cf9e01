"""What is measured on models in training, beside the metrics: a module for each table.

A module has `probe(learner)`, a DataFrame, and `WHEN`: after the last epoch (`end`) or also during
training (`dense` or `sparse`, see `training/schedule.py`). A family names the probes that it has.
"""
