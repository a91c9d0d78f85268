"""Guarded outbound HTTP: `addresses` says where we may go, `target` reads URLs, `http` goes there and nowhere else."""
