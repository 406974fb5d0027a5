"""Streams changed without decoding: cut, join, puppet, transcode, strip, repair, dump."""
