"""From aligned crops to packets and an identity: one function per stage, the order in encoder.py."""
