"""A call: a camera's picture on its way out, somebody else's on its way in. Here capture, encoding and sockets meet.

    source ─► Feed ─► Mailbox (the newest frame) ─► Sending: LiveEncoder ─► UDP
    UDP ─► Incoming: LiveReceiver ─► LiveDecoder ─► Playout ─► the picture that is due ─► Show
"""
