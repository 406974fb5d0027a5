"""Encoding while the camera runs: frames in one by one, packets out after a bounded delay.

    frame ─► square ─► codes ─► smooth (one frame of look-ahead) ─► correct ─► packet ─► groups of a live stream
    codes ─► first guess of the identity, sent at once ─► fitted in the background, sent when it is ready
"""
