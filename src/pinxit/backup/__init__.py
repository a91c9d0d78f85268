"""Copies of everything that an installation is, made while its server runs, and put back elsewhere.

`layout` says what lies where in a backup, `databases` copies rows, `making` and `restoring` tell the two stories.
"""
