"""What several tests need: a real gate on a real database file."""
