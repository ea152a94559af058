"""AxScheduler: the public entry point. It wires the parts together and has no logic of its own."""
