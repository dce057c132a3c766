"""The peers that limen is held against: other frameworks' own guards, each in a small application of its own."""
