"""Where bytes live. `interface` is what the rooms above know; `local` keeps files that survive a power cut."""
