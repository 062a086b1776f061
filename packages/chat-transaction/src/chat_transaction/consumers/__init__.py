"""What runs records: handlers, ensured functions, effects that happen once."""
