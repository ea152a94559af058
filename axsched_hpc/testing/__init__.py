"""Test suites that ship with the package, for those who extend it."""
