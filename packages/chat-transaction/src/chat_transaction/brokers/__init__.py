"""What carries records between processes, or within this one."""
