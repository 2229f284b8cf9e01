"""Training jobs: which grid points share one, what they cost, and the process that trains."""
