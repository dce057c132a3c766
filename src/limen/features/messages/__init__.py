"""Messages: their tokens, and that each is handled once."""
