"""Commands of ``axsched`` that are more than a few lines, a module each."""
