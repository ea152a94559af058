"""Container objectives: the engines, their limits, images that are prepared once, and the run in a job."""
