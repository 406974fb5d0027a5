"""A call that is kept as a stream: the bytes as they came, and at the end a whole file of them, sound and all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

from ..bitstream.edit import Repair
from ..bitstream.identities import Recall
from ..files import PathLike, atomic_write, blaming, check_output, place_of


class StoredStream:
    """Writes OUT.stc; a peer that starts again has a file of its own, OUT-2.stc and so on. What was lost is held.

    recall: as of `Decoder.live`. Raises OutputError where the file cannot be written.
    """

    def __init__(self, path: PathLike, recall: Recall | None = None) -> None:
        check_output(path)
        self.written: list[str] = []
        self._path, self._recall = Path(path), recall
        self._session, self._file = 0, self._begun()

    def stored(self, session: int, data: bytes) -> None:
        """Bytes of the stream of one peer, in order."""
        if session != self._session:
            self._finish()
            self._session, self._file = session, self._begun()
        with blaming(self._path):
            self._file.write(data)

    def close(self) -> None:
        """Write the last file, if there is anything to write."""
        self._finish()

    def _begun(self) -> BinaryIO:
        return tempfile.TemporaryFile(dir=place_of(self._path).parent)

    def _finish(self) -> None:
        with self._file as file:
            if not file.tell():
                return
            count = len(self.written) + 1
            path = self._path if count == 1 else self._path.with_stem(f"{self._path.stem}-{count}")
            with atomic_write(path) as whole:
                for portion in Repair(file, recall=self._recall).portions():
                    whole.write(portion)
            self.written.append(str(path))
