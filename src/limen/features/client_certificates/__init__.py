"""Client certificates: the names by which services are known, and the tokens they get for them."""
