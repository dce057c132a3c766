"""Forgotten passwords, and addresses that are proved by a mail to them."""
