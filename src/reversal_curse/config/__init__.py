"""Settings, sweeps, figures, and the config files in which a researcher asks for them."""
