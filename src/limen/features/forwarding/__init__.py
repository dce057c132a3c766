"""What a gateway is told of whoever it may let through to the services behind it."""
