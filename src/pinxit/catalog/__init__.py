"""What can be asked for: the models by id and alias, and what each of them can do."""
