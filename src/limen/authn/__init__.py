"""Who are you: the extractor, the strategies, and the one door that issues what a login ends in."""
