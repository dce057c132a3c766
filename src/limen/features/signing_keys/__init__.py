"""Signing keys: kept in the database, published before they sign, and replaced while everything runs."""
