"""Policies as Python values: what one writes, and the tree it becomes."""
