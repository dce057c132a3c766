"""What limen can do: one capability, one folder.

A service is the use case and knows no HTTP; a store is what it asks of a database.
"""
