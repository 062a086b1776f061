"""The server inside somebody's application: its people, its doors, its threads."""
