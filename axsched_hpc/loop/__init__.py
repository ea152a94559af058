"""Observe, decide, journal, act: the loop that runs an experiment, one tick at a time."""
