"""Live streams: RTP transport, sender, receiver, UDP (SPEC 6 and 11)."""
