"""Training of the avatar pack: synthetic heads in, a model pack out (optional extra `train`)."""
