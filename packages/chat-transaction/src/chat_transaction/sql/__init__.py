"""What the database holds, and every statement about it."""
