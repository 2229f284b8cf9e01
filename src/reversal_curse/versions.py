"""Versions of what cannot be told from a config: the code that makes data and trains.

Snakemake reruns a job when its params change, and these are among them. Raise one
by hand when a change of the code changes what it computes, and only then: a
refactoring must not retrain a sweep of days. `tests/unit/test_versions.py` fails
when results move and the number does not.
"""

DATA_VERSION = 1
TRAINING_VERSION = 3
PRETRAINED_VERSION = 2
