"""The tree of a policy as a condition of SQLAlchemy."""
