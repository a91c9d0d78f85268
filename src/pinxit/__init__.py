"""Pinxit: one text-to-image API for the models you run and the models you rent."""

__version__ = "0.1.0"
