"""How the house itself is: the database, and the room there is for pictures."""
