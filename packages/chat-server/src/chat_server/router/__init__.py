"""router: where do they sit, and did it arrive? Device directory, fan-out to nodes, offline push."""
