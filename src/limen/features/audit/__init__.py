"""The audit trail as evidence: its records are sealed in a chain, verified, checkpointed and handed on."""
