"""Training: one job trains all seeds of a grid point."""
