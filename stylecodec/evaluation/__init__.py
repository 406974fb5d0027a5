"""Scores of any two videos of a face: read, matched in time, aligned by the face, measured, reported."""
