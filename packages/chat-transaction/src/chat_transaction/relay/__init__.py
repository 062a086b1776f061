"""From committed rows to consumers, and back to deleted rows."""
