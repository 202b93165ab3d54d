"""Rows of JSON files: one object a line, an array, or what pandas and others put around one."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .lines import kind_of_name, lines_of


class Row(NamedTuple):
    """One row: where it stands in its file, such as `line 3`, its number from 1 (of the line, where it has one), its values."""

    place: str
    number: int
    values: dict


def json_rows(file: Path, wanted: Collection[str], name: str | None = None, field: str | None = None) -> Iterator[Row]:
    """The rows of a file.

    One object a line is read line by line. Anything else is read whole: an array of objects (or of texts, which are then in
    a column `text`), objects one after another, pandas' `orient` of columns, index, split and table, and an object with one list
    of rows, such as {"data": […]}.

    Args:
        wanted: columns of which a row must hold at least one to be found inside another object.
        name: what messages call the file; default: its path.
        field: the key of the list of rows in the one object that the file holds.

    Raises:
        UserError: no JSON, or no rows, naming file and line; rows in several places.
    """
    name = name or str(file)
    lines = ((number, line) for number, line in lines_of(file, name) if line.strip())
    first, second = next(lines, None), next(lines, None)
    if first is None:
        return
    if field is not None or second is None or not _is_object(first[1]):
        yield from _rows_of_whole(file, wanted, name, field)
        return
    for pair in (first, second):
        yield _row_of_line(*pair, name)
    for number, line in lines:
        yield _row_of_line(number, line, name)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _row_of_line(number: int, line: str, name: str) -> Row:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:  # the latter: nested without end
        raise UserError(f"{name}, line {number} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{name}, line {number} is no JSON object")
    return Row(f"line {number}", number, values)


def _rows_of_whole(file: Path, wanted: Collection[str], name: str, field: str | None) -> Iterator[Row]:
    found = _values(file, name)
    if field is not None:
        only = found[0][1]
        if not isinstance(only, dict) or not isinstance(only.get(field), list):
            raise UserError(f"{name} holds no list {field!r}")
        found = [(None, row) for row in only[field]]
    elif len(found) == 1:
        line, only = found[0]
        if only == []:
            found = []
        elif isinstance(only, list) and any(isinstance(row, dict | str) for row in only):
            found = [(None, row) for row in only]
            if all(isinstance(row, str) for row in only):
                found = [(None, {"text": text}) for text in only]
        elif isinstance(only, dict):
            inner = _rows_inside(only, wanted, name)
            found = found if inner is None else [(None, row) for row in inner]
    for index, (line, values) in enumerate(found, 1):
        place = f"line {line}" if line else f"row {index}"
        if not isinstance(values, dict):
            raise UserError(f"{name}, {place} is no JSON object")
        yield Row(place, line or index, values)


def _values(file: Path, name: str) -> list[tuple[int, object]]:
    """(line, value) of all that a file holds, one value after another."""
    text = "".join(line for _, line in lines_of(file, name))
    decoder, found, place, line, counted = json.JSONDecoder(), [], 0, 1, 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise UserError(f"{name}, line {error.lineno} is not JSON: {error.msg} (column {error.colno})") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {line} is not JSON: {error}") from None
        found.append((line, value))
    return found


def _rows_inside(whole: dict, wanted: Collection[str], name: str) -> list | None:
    """The rows that one object holds; None where it is a row itself."""
    lines = kind_of_name(Path(name)) in (".jsonl", ".ndjson")  # there, one object with a list of texts is one row
    columns, data = whole.get("columns"), whole.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(columns, row, strict=False)) for row in data]  # pandas' orient="split"
    for column in wanted:
        held = whole.get(column)
        if isinstance(held, dict) and held and all(key.isdigit() for key in held):  # orient="columns"
            others = [key for key, values in whole.items() if isinstance(values, dict) and values.keys() == held.keys()]
            return [{key: whole[key][index] for key in others} for index in held]
        texts = not lines and isinstance(held, list) and all(isinstance(text, str | None) for text in held)
        if texts and all(isinstance(values, list) and len(values) == len(held) for values in whole.values()):
            return [{key: values[index] for key, values in whole.items()} for index in range(len(held))]
    if any(column in whole for column in wanted):
        return None

    def holds_rows(rows) -> bool:
        return any(isinstance(row, dict) and any(column in row for column in wanted) for row in rows)

    lists = {key: rows for key, rows in whole.items() if isinstance(rows, list) and holds_rows(rows)}
    if len(lists) > 1:
        raise UserError(
            f"{name} holds rows in {' and '.join(map(repr, lists))}: write those that are meant into a file"
        )
    if lists:
        return next(iter(lists.values()))
    if all(isinstance(row, dict) for row in whole.values()) and holds_rows(whole.values()):  # orient="index"
        return list(whole.values())
    return None
