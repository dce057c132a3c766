"""API keys: made, listed, rotated, revoked, and looked up."""
