"""Stand-ins for platforms: they speak the documented shapes, check what the platform checks, and fail on demand."""
