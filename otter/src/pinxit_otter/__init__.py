"""otter-1, the painter in the box: small pictures in the manner of emoji, on a CPU."""
