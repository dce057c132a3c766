"""What `limen check` finds, and what it does not."""
