"""Input made to do harm, over real HTTP: each answer is a refusal with a code that repeats nothing of it."""
