"""Roles: what code declares, kept in the database beside the accounts that hold them."""
