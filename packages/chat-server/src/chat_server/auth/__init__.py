"""auth: who are you, and may you? Login providers, central tokens, bans. Knows no messages."""
