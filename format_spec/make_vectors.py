"""Write the test vectors of SPEC.md. Deterministic; the vectors change only by running this.

    python format_spec/make_vectors.py            writes vectors/valid and vectors/invalid
    python format_spec/make_vectors.py --example  prints the worked example of SPEC.md section 9

With the modules beside it this is a second writer, made from SPEC.md with `struct` and `zlib` alone. It imports nothing
of stylecodec, so that a vector and the package agree only if both follow the text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attached_vectors import invalid_attached
from invalid_vectors import invalid
from valid_vectors import example_parts, valid
from vector_parts import chunk, prologue, stream

HERE = Path(__file__).parent / "vectors"


def files() -> dict[str, bytes]:
    """Every vector file by its path below vectors/."""
    made: dict[str, bytes] = {}
    for folder, vectors in (("valid", valid()), ("invalid", invalid()), ("invalid_attached", invalid_attached())):
        for name, (data, expected) in vectors.items():
            made[f"{folder}/{name}.stc"] = data
            made[f"{folder}/{name}.json"] = (json.dumps(expected, indent=1) + "\n").encode()
    return made


def example() -> str:
    """The worked example as hex, one chunk per paragraph, runs of zero shortened."""
    paragraphs = [prologue()] + [chunk(*part) for part in example_parts()]
    offset = sum(map(len, paragraphs))
    data = stream(*example_parts())
    rest = data[offset:]
    paragraphs += [rest[:-40], rest[-40:]]
    lines, place = [], 0
    for part in paragraphs:
        row = 0
        while row < len(part):
            zeros = len(part) - row - len(part[row:].lstrip(b"\0"))
            if zeros > 32:
                lines.append(f"{place + row:5d}  00 * {zeros}")
                row += zeros
                continue
            piece = part[row : row + 16]
            run = piece.find(bytes(8))
            if run > 0 and part[row + run :].startswith(bytes(33)):
                piece = piece[:run]
            lines.append(f"{place + row:5d}  {piece.hex(' ')}")
            row += len(piece)
        lines.append("")
        place += len(part)
    return "\n".join(lines)


def main() -> None:
    if "--example" in sys.argv[1:]:
        print(example())
        return
    for folder in ("valid", "invalid", "invalid_attached"):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
    made = files()
    for path, data in made.items():
        (HERE / path).write_bytes(data)
    for file in [*HERE.glob("*/*.stc"), *HERE.glob("*/*.json")]:
        if file.relative_to(HERE).as_posix() not in made:
            file.unlink()
    print(f"{len(made) // 2} vectors, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
