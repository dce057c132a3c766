"""Maintenance: what is to be done after a backup came back, and noticing that one did."""
