"""limen's sessions in Valkey or Redis: what changes at each use is there, what must not be lost is in the database."""
