"""limen as a real process, and what happens to processes: killed, out of disk, deserted by their clients."""
