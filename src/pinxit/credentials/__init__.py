"""Credentials: what we show upstream providers. `seal` makes them unreadable, `repository` keeps the rows,
`service` knows whose credential an order is sent with.
"""
