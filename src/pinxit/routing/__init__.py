"""Which painter gets an order: in which order they are asked, and which are left alone for a while."""
