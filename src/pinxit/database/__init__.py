"""Where rows live. `tables` says what they are, `sqlite` keeps them, `migrate` brings an older database up to date."""
