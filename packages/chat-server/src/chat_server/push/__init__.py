"""Providers of offline push: what carries a notification to the platform of a device. When, and to whom, is decided in
`chat_server.router.push`."""
