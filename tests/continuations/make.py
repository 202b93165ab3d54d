"""Makes preference.jsonl.xz as README.md says: `passages FOLDER` writes the contexts, `pack FILE…` puts generations beside each other."""

import json
import lzma
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ASSETS = HERE.parent.parent / "hyperfitting" / "assets"
APART, LONG = 50, 112  # words from one passage of a document to the next at least, and in the rest of its document


def passages(folder: Path) -> None:
    """Parts of the built-in held-out texts, each from the beginning of a sentence; they overlap, as 96 documents must give 300."""
    folder.mkdir(parents=True)
    for name in ("stories", "encyclopedia", "news"):
        with open(folder / f"{name}.jsonl", "w") as lines:
            for row in (ASSETS / f"held_out_{name}.jsonl").read_text().splitlines():
                text, last = json.loads(row)["text"], -APART
                for start in (0, *(match.end() for match in re.finditer(r'(?<=[.!?"])\s+(?=[A-Z"])', text))):
                    before = len(text[:start].split())
                    if before - last >= APART and len(text[start:].split()) >= LONG:
                        last = before
                        lines.write(json.dumps({"text": text[start:]}) + "\n")


def pack(files: list[Path]) -> None:
    """One row for each context: where it is from, how it begins, how it truly goes on, and how each condition goes on."""
    rows = {}
    for file in files:
        for record in map(json.loads, file.read_text().splitlines()):
            row = rows.setdefault(record["id"], {name: record[name] for name in ("source", "context", "reference")})
            row[f"{file.parent.name} {record['policy']}"] = record["continuation"]
    with lzma.open(HERE / "preference.jsonl.xz", "wt", encoding="utf-8", preset=9) as lines:
        for row in rows.values():
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    passages(Path(sys.argv[2])) if sys.argv[1] == "passages" else pack([Path(file) for file in sys.argv[2:]])
