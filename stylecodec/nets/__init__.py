"""The networks, each in its own file: plain torch modules with free widths, no file access."""
