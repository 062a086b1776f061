"""What this package brings into the server."""
