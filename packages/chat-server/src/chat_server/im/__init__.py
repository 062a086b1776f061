"""im: what was said? Submit, number, store, history, recall, receipts, inbox. Knows no sockets."""
