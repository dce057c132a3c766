"""Login: a password against an account, with one answer for every way it can fail."""
