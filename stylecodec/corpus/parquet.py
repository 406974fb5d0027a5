"""Tables in Parquet, by PyArrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, OptionError
from ..files import PathLike, atomic_write

PYARROW = "pyarrow"


def has_parquet() -> bool:
    """Whether PyArrow is installed."""
    return find_spec(PYARROW) is not None


def _need() -> None:
    if not has_parquet():
        raise MissingDependency("Parquet needs PyArrow, which is not installed: pip install 'stylecodec[corpus]'")


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a table; OptionError where it is none, MissingDependency without PyArrow."""
    _need()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Mapping[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise OptionError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from error
    return rows


def write_rows(path: PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a table; a column's type is that of its values, None where a row has none."""
    _need()
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = sorted({name for row in rows for name in row})
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    with atomic_write(path) as file:
        pq.write_table(table, file)
