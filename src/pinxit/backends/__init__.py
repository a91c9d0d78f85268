"""Who paints. `interface` is the public door for plugins; `registry` finds them."""
