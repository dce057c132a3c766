"""Live objects of the application: its routes, and what stands in front of them. Only the child process uses it."""
