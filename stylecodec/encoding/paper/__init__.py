"""The `paper` analysis: the encoder of 2203.14512 as it is written, and the fast form of it that users get."""
