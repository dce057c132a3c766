"""Mails to the people behind accounts: written with the act that they tell of, and sent afterwards."""
