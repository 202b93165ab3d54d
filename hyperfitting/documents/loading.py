"""From the name of a data set to its documents, of which any can be read."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..builtin import resolve
from ..codec import Codec, DocumentError
from ..errors import UserError
from ..processes import is_main_process
from ..terminal import make_console, printable
from .lines import kind_of_name
from .places import find_files
from .texts import texts_of


def say(message: str) -> None:
    """A line on the console of the main process."""
    if is_main_process():
        make_console().print(printable(message))


def load_documents(
    source: str,
    codec: Codec,
    column: str = "text",
    config: str | None = None,
    split: str = "train",
    column_flag: str = "--text_column",
    say: Callable[[str], None] = say,
):
    """A `datasets.Dataset` of the documents of a Hub dataset, a local file, or a folder, with the one column `document`.

    A .txt file or an image is one document; the other formats hold one document a row, in `column`, which `column_flag` names.
    Local files and the JSON files of the Hub are read here, whatever their other columns hold: the reader of `datasets` gives
    all texts of a column as JSON, in quotation marks, once one of them is a number.

    Args:
        config, split: of a Hub dataset, or of a folder that has some.
        say: takes what was left out or chosen.

    Raises:
        UserError: missing, empty or invalid files, a missing column, a value that is no text, by file and line.
    """
    path = Path(resolve(source))
    if path.exists():
        found = find_files(path, codec.readers, config, split)
        if found.note:
            say(found.note)
        named = {str(file): file for file in found.files}
        return _local(source, named, found.kind, found.options, codec, column, column_flag)
    if kind_of_name(path) in codec.readers or source.startswith((".", "/", "~")):
        raise UserError(f"dataset {source} does not exist")
    return _of_hub(source, codec, column, config, split, column_flag)


def _local(source: str, named: dict[str, Path], kind: str, options: dict, codec: Codec, column: str, flag: str):
    """The documents of files of one kind; `named`: what messages call them -> where they are."""
    from . import tables

    column = "text" if kind in ("text", "imagefolder") else column  # one document a file, and no columns
    if kind == "imagefolder":
        table = tables.path_table(list(named), column)
    elif kind in ("parquet", "arrow"):
        files = list(named.values())
        with _about(f"dataset {source}"):
            column = codec.column(tables.stored_features(files[0], kind), column, flag)
        table = tables.stored_table(files, kind, column)
    else:
        parts = (texts_of(file, kind, column, flag, options, name) for name, file in named.items())
        with _about(f"dataset {source} cannot be loaded:"):
            table = tables.text_table((text for part in parts for text in part), column)
    if len(table) == 0:
        raise UserError(f"dataset {source} holds no rows")
    with _about(f"dataset {source}"):
        return codec.select(tables.dataset_of(table), column, flag)


@contextlib.contextmanager
def _about(subject: str) -> Iterator[None]:
    """Inside, the messages of errors go on from a subject."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject} {error}") from None


def _of_hub(source: str, codec: Codec, column: str, config: str | None, split: str, flag: str):
    import datasets
    from datasets.packaged_modules.json.json import Json

    def documents(name: str):
        downloads = datasets.DownloadManager(
            download_config=datasets.DownloadConfig(token=builder.token), base_path=builder.base_path
        )
        named = dict(zip(files[name], map(Path, downloads.download(list(files[name]))), strict=True))
        options = {"field": builder.config.field} if builder.config.field else {}
        return _local(source, named, "json", options, codec, column, flag)

    try:
        builder = datasets.load_dataset_builder(source, config)
        files = {str(name): found for name, found in (builder.config.data_files or {}).items()}
        if isinstance(builder, Json) and "json" in codec.readers.values():
            return documents(split) if split in files else _slices(split, files, documents)
        table = datasets.load_dataset(source, config, split=split)
    except UserError:
        raise
    except Exception as error:  # whatever a reader or the Hub client raises, the cure is another dataset
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise UserError(f"dataset {source} cannot be loaded: {reason}") from error
    with _about(f"dataset {source}"):
        return codec.select(table, column, flag)


def _slices(asked: str, names: Iterable[str], documents: Callable):
    """What `datasets` means by a split such as `train[:10%]+test`; `documents`: of a split."""
    import datasets

    tables = {name: documents(name) for name in names if re.search(rf"\b{re.escape(name)}\b", asked)}
    lengths = {name: len(tables.get(name, ())) for name in names}
    parts = datasets.ReadInstruction.from_spec(asked).to_absolute(lengths)
    return datasets.concatenate_datasets([tables[part.splitname].select(range(part.from_, part.to)) for part in parts])


def encode_drawn(
    source: str, documents, order: Sequence[int], encode: Callable[[list], list[list[int]]]
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """(indices, ids of each) of the documents of `load_documents`, a few hundred at a time, in the order of their indices in
    `order`; `encode`: documents -> ids.

    Raises:
        UserError: a document that cannot be read, by name.
    """
    for start in range(0, len(order), 256):
        indices = [int(index) for index in order[start : start + 256]]
        try:
            yield indices, encode(documents[indices]["document"])
        except DocumentError as error:
            name = error.name or f"row {indices[error.place]}"
            raise UserError(f"{name} of dataset {source} is {error}: mend it, or leave it out") from None
