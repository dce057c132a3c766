"""Approvals: what one person asks for is done when others have said yes to it."""
