"""How responses to one prompt lie in a row: two around it, or any number behind it."""
