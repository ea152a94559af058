"""A run without Python: one YAML file, read, checked as a whole, and kept as plain data."""
