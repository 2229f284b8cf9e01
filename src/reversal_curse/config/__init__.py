"""What a researcher asks for: settings, sweeps over them, figures of sweeps, config files."""
