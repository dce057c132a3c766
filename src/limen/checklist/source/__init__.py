"""Rules about source text. Names are resolved through imports and aliases; nothing is found by a text search."""
