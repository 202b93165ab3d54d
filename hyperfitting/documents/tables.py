"""One column of files as an Arrow table that lies on the disk: data sets are larger than memory, and a run needs few rows."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from ..errors import UserError
from ..files import named_in_errors

BATCH = 8 << 20  # characters of the texts that are written at once


def dataset_of(table: pa.Table):
    """A `datasets.Dataset` of a table; it is the same to `datasets` in every process."""
    import datasets

    return datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint="documents")


def text_table(texts: Iterable[str | None], column: str) -> pa.Table:
    """A table of texts, as they come."""
    return _on_disk(_batches(texts), pa.schema({column: pa.large_string()}))


def path_table(paths: list[str], column: str) -> pa.Table:
    """A table of files as `datasets` holds undecoded images."""
    rows = [{"bytes": None, "path": path} for path in paths]
    return pa.table({column: pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))})


def stored_features(file: Path, kind: str):
    """The columns of a `parquet` or `arrow` file, as `datasets.Features`.

    Raises:
        UserError: it is damaged.
    """
    import datasets

    return datasets.Features.from_arrow_schema(_schema(file, kind))


def _schema(file: Path, kind: str) -> pa.Schema:
    """The columns of a file.

    Raises:
        UserError: it is damaged.
    """
    with _named(file):
        if kind == "arrow":
            return _mapped(file).schema
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(file, memory_map=True)


def stored_table(files: list[Path], kind: str, column: str) -> pa.Table:
    """A column of parquet or arrow files, whose other columns may differ.

    Raises:
        UserError: a file without it, where it is of another type than in the first, or that is damaged.
    """
    types = {file: _type_of(_schema(file, kind), column, file) for file in files}
    wanted = next((found for found in types.values() if found != pa.null()), pa.large_string())
    for file, found in types.items():
        if found not in (wanted, pa.null()):
            raise UserError(f"{file} holds {found} in its column {column!r}, and {files[0]} {types[files[0]]}")
    schema = pa.schema({column: wanted})
    if kind == "arrow":
        return pa.concat_tables([_checked(_mapped(file).select([column]), schema, file) for file in files])
    return _on_disk(_parquet_batches(files, schema), schema)


def _type_of(schema: pa.Schema, column: str, file: Path) -> pa.DataType:
    """The type of a column; every type of text is the one that is written here."""
    if schema.names.count(column) != 1:
        raise UserError(f"{file} has no column {column!r}; it has {', '.join(schema.names)}")
    found = schema.field(column).type
    inner = found.value_type if pa.types.is_dictionary(found) else found
    texts = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    return pa.large_string() if texts else found


def _mapped(file: Path) -> pa.Table:
    """An Arrow file, whose pages are read when they are asked for."""
    mapped = pa.memory_map(str(file))
    if mapped.read(6) == b"ARROW1":
        return pa.ipc.open_file(mapped).read_all()
    mapped.seek(0)
    return pa.ipc.open_stream(mapped).read_all()


def _checked(table: pa.Table, schema: pa.Schema, file: Path) -> pa.Table:
    """A part of a file in the type that all have, its texts valid UTF-8."""
    with _named(file):
        table = pa.table([table.column(0).cast(schema.field(0).type)], schema=schema)
        if schema.field(0).type == pa.large_string():
            table.validate(full=True)
        return table


def _parquet_batches(files: list[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow.parquet

    for file in files:
        with _named(file), pyarrow.parquet.ParquetFile(file, memory_map=True) as parquet:
            for batch in parquet.iter_batches(batch_size=1000, columns=schema.names):
                yield _checked(pa.Table.from_batches([batch]), schema, file)


def _batches(texts: Iterable[str | None]) -> Iterator[pa.Table]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text or "")
        if size >= BATCH or len(batch) >= 10_000:
            yield pa.table({"": pa.array(batch, pa.large_string())})
            batch, size = [], 0
    yield pa.table({"": pa.array(batch, pa.large_string())})


def _on_disk(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables as one that is mapped from a file, where `datasets` keeps its own; the file has no name any more, so that it goes
    with the process, however that ends."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=folder, prefix="documents-", suffix=".arrow")
    try:
        with named_in_errors(Path(path)), open(descriptor, "wb") as file:
            with pa.ipc.new_stream(file, schema) as writer:
                for table in tables:
                    writer.write_table(table.rename_columns(schema.names))
        return _mapped(Path(path))
    finally:
        os.unlink(path)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Inside, what pyarrow raises of a damaged file becomes a UserError that names it."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{file} is damaged: {' '.join(str(error).split())[:200]}") from None
