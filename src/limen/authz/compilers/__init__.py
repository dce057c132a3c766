"""What the tree of a policy is turned into: a Python function, a condition of SQL, an explanation."""
