"""Everything of ours that speaks Redis or Valkey."""
