"""The figures: functions from aggregated tables to a matplotlib Figure; see `config/plots.py`."""
