"""Where attempts run: the interface, and the runners over submitit."""
