"""Accounts: the record of a subscriber (NIST SP 800-63-4), its state, its password."""
