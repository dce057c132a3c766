"""limen speaks ASGI: middleware, headers, problem details, routes, and the doors of the frameworks."""
