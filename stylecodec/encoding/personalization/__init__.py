"""The generator tuned to a person, and the delta of it that a stream carries."""
