"""How much of the server one caller, and all callers together, may use at a time."""
