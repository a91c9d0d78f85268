"""The commands. Each is a thin door to the same services as the API; `main` is the entry point."""
