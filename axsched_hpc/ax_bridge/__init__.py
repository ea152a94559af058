"""The only place that imports Ax: an experiment and its generation strategy behind ask and tell."""
