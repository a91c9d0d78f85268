"""Where a backend runs: `inline` in this event loop, `process` in a supervised painter process."""
