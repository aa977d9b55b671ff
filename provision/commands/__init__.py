"""The commands, one module for each thing that a user is about: making it, looking at it, taking it away."""
