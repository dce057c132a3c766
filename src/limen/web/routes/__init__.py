"""limen's own HTTP routes, one module a feature. They are plain Starlette endpoints, and the guard decides them like any other."""
