"""Search of messages: words of texts and queries, the index on each engine, what keeps it, and the command."""
