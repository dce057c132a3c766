"""The command line: one module a group of commands.

What a command needs is imported when it runs, and types for the type checker only, so that it starts fast.
"""

from limen.cli.main import main

__all__ = ["main"]
