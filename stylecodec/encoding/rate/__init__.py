"""Bytes against error: sensitivity of the picture, trellis, compaction."""
