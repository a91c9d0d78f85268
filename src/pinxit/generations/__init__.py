"""One order, from asked to kept. Read `service.py` from top to bottom: it is the whole story."""
