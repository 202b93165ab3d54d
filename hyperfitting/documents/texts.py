"""The one column that is asked for, of files of text: each value held to be a text, or named with its file and line."""

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import UserError
from .json_rows import json_rows
from .lines import kind_of_name, lines_of

DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # in the order in which they are tried
OF_EXCEL = re.compile(r'"?sep=."?\s*')  # a first line with which Excel is told the delimiter
CHATS = ("messages", "conversations", "conversation", "prompt", "completion", "instruction", "question", "chosen")


def texts_of(
    file: Path, kind: str, column: str, flag: str, options: dict, name: str | None = None
) -> Iterator[str | None]:
    """The texts of a file; None where there is none.

    Args:
        kind: `json`, `csv` or `text`, of which the last is one text and has no columns.
        flag: what names the column.
        options: `field` of a JSON file, `delimiter` of a CSV file, where the data set's README says them.
        name: what messages call the file; default: its path.

    Raises:
        UserError: no such column, a value that is no text, a damaged file.
    """
    name = name or str(file)
    if kind == "text":
        text = "".join(line for _, line in lines_of(file, name))
        values: Iterable = [("", text.replace("\r\n", "\n").replace("\r", "\n"))]
    elif kind == "csv":
        values = _with_long_cells(_csv_cells(file, column, flag, options.get("delimiter"), name))
    else:
        values = _json_values(file, column, flag, options.get("field"), name)
    for place, value in values:
        if value is None:
            yield None
            continue
        if not isinstance(value, str):
            raise UserError(f"{name}, {place} has a column {column!r} that does not hold text but {_what(value, flag)}")
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can spell what UTF-8 cannot
            raise UserError(
                f"{name}, {place}: the text holds half a character (a lone surrogate): correct it"
            ) from None
        yield value


def missing_column(name: str, column: str, there: Iterable[str], flag: str) -> UserError:
    """What is said where a column is not there; of chats also what to do."""
    there = [str(key)[:60] for key in there]
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    chats = [key for key in there if key in CHATS]
    advice = f"; it has {shown}: set {flag}"
    if chats:
        advice += f", or write {' and '.join(chats)} into one column as texts, {_RENDERED}"
    return UserError(f"{name} has no column {column!r}{advice}")


_RENDERED = "for example with the tokenizer's `apply_chat_template(messages, tokenize=False)`"


def _what(value, flag: str) -> str:
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return f"a chat: write it into a column as one text, {_RENDERED}, and name it with {flag}"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return f"{kinds[type(value)]} ({str(value)[:40]}): correct the row, leave it out, or set {flag}"


def _json_values(file: Path, column: str, flag: str, field: str | None, name: str) -> Iterator[tuple[str, object]]:
    there: dict[str, None] = {}
    for row in json_rows(file, (column,), name, field):
        if column not in there:
            there.update(dict.fromkeys(row.values))
        yield row.place, row.values.get(column)
    if there and column not in there:
        raise missing_column(name, column, there, flag)


def _csv_cells(
    file: Path, column: str, flag: str, delimiter: str | None, name: str
) -> Iterator[tuple[str, str | None]]:
    """(place, cell) of each row. Which delimiter is meant is said by the header: it is the one with which the column is there.

    Raises:
        UserError: also for a column of numbers alone, which is another one than was meant.
    """
    tried = delimiter or DELIMITERS[kind_of_name(file) if kind_of_name(file) in DELIMITERS else ".csv"]
    headers = {mark: _records(file, mark, name) for mark in tried}
    headers = {mark: next(records, (0, []))[1] for mark, records in headers.items()}
    fitting = [mark for mark, header in headers.items() if column in header]
    if not fitting:
        raise missing_column(name, column, max(headers.values(), key=len), flag)
    header, records = headers[fitting[0]], _records(file, fitting[0], name)
    next(records)
    index, numbers, cells = header.index(column), 0, 0
    for line, record in records:
        if len(record) > len(header):
            raise UserError(
                f"{name}, line {line} has {len(record)} cells and the header {len(header)}: put texts that hold "
                f"{fitting[0]!r} in quotation marks"
            )
        cell = record[index] if index < len(record) else ""
        cells += cell != ""
        if numbers == cells - 1 and cell:
            with suppress(ValueError):
                float(cell)
                numbers += 1
        yield f"line {line}", cell or None
    if cells and numbers == cells:
        raise UserError(f"{name} has a column {column!r} that does not hold text but numbers alone: set {flag}")


def _with_long_cells(cells: Iterator) -> Iterator:
    """The same, of any length: `csv` keeps one limit for all its readers in a process, which is put back."""
    usual = csv.field_size_limit(sys.maxsize)
    try:
        yield from cells
    finally:
        csv.field_size_limit(usual)


def _records(file: Path, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of each record of a CSV file that is not blank."""
    lines = ("\n" if number == 1 and OF_EXCEL.fullmatch(line) else line for number, line in lines_of(file, name))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{name}, line {begins} is not CSV: {error} (a quotation mark in a text is written twice)"
        ) from None
