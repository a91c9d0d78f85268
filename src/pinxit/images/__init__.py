"""The words of painting: what is asked for, what is painted, how it becomes a file."""
