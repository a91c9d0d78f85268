"""The web pages under `/console`: a door like `pinxit.api`, to the same services."""
