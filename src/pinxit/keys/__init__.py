"""API keys: what callers show us. `secret` makes and hashes them, `repository` keeps them, `service` verifies them."""
