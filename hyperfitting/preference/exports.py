"""Which files an export wrote: what somebody answered in, or put there, is not replaced."""

import csv
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import UserError
from .exchange import COLUMNS, CONFIG

EXTENSIONS = {"html": (".html",), "label_studio": (".json", ".xml"), "csv": (".csv",)}  # of the files of a format


def check_free(stems: Sequence[Path], format: str, tickets: Collection[str], overwrite: bool) -> None:
    """Raise UserError where an export to these files would replace one, or, with `overwrite`, one that `is_export` does not know."""
    paths = [stem.with_name(stem.name + extension) for stem in stems for extension in (".html", ".json", ".csv")]
    config = [stems[0].with_name("label_studio.xml")] if format == "label_studio" else []
    there = [path for path in paths + config if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} is there: replace files of an earlier export with --overwrite, or set another --output_dir"
        )
    for path in there:
        if path.suffix in EXTENSIONS[format] and not is_export(path, tickets):
            raise UserError(
                f"{path} is no file of an export of this study, or holds answers: import or move it, or set another --output_dir"
            )


def is_export(path: Path, tickets: Collection[str]) -> bool:
    """Whether an export wrote this file for one of these tickets, and nobody has answered in it."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    try:
        return {".html": _is_page, ".json": _are_tasks, ".csv": _is_table, ".xml": _is_config}[path.suffix](
            text, tickets
        )
    except (ValueError, RecursionError, csv.Error):  # no JSON, or no CSV
        return False


def _is_page(text: str, tickets: Collection[str]) -> bool:
    return any(ticket in text for ticket in tickets)


def _are_tasks(text: str, tickets: Collection[str]) -> bool:
    tasks = json.loads(text)
    return isinstance(tasks, list) and all(
        isinstance(task, dict)
        and task.keys() == {"data"}
        and isinstance(task["data"], dict)
        and _is_page(str(task["data"].get("ticket")), tickets)
        for task in tasks
    )


def _is_table(text: str, tickets: Collection[str]) -> bool:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return tuple(rows.fieldnames or ()) == COLUMNS and all(
        _is_page(row["ticket"] or "", tickets) and not row["choice"] and not row["comment"] for row in rows
    )


def _is_config(text: str, tickets: Collection[str]) -> bool:
    return CONFIG.fullmatch(text) is not None
