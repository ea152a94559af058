"""What a trial runs: a function, a script or a container."""
