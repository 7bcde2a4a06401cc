"""Moving skeletons: the player of pages, its first picture without a script, and films of it."""
