"""The pictures that are kept: `library` stores and finds them, `urls` makes and checks their addresses."""
