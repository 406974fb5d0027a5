"""Rate against distortion: our streams and ordinary codecs on the same squares, every byte counted.

    clips ─► sequences (aligned squares, lossless) ─► encodes ─► scores ─► points ─► BD-rate, break-even ─► report
"""
