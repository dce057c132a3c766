"""What computes on secrets: passwords, opaque tokens, keys and signed tokens."""
