"""Entry of `python -m stylecodec.training.heads`."""

from __future__ import annotations

import sys

from stylecodec.training.heads.cli import main

if __name__ == "__main__":
    sys.exit(main())
