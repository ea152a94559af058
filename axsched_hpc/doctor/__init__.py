"""`axsched doctor`: whether a site is ready for experiments, and what to change where it is not."""
