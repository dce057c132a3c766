"""The audit trail, as an administrator reads it."""
