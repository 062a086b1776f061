"""The room of those who run the server: accounts, roles, bans, and what was done by whom."""
