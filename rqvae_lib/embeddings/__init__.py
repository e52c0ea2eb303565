"""Item vectors, made from item texts, from users' histories, or from both."""
