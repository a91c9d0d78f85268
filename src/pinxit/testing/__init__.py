"""Doubles for tests, ours and those of plugins."""
