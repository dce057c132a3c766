"""limen's own HTTP routes, one module a feature: plain Starlette endpoints, decided by the guard like any other."""
