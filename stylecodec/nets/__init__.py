"""The networks, each in its own file: plain torch modules with free widths, which read no files.

Beside them what they share: StyleGAN2's operations, the loss of pixels, isolation from what the host program has set.
"""
