"""The HTTP door: commands, documents, health, metrics, the web client."""
