"""The door: HTTP in, HTTP out, nothing decided in between."""
