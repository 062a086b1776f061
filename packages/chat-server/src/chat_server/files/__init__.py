"""files: what people send beside text. Its rows, its commands, its message kinds; the bytes are an `ObjectStore`'s."""
