"""Split files of texts by a hash of each text, so that what a recipe is chosen by is neither trained on nor reported.

    python benchmarks/split_texts.py fiction.jsonl wiki.jsonl news.jsonl --output_dir texts

writes NAME.choose.jsonl (a quarter of the texts), NAME.train.jsonl (a quarter) and NAME.report.jsonl (half) for each file, and
mixed.choose.jsonl, the first 40 of each file's choose.
"""

import argparse
import hashlib
from pathlib import Path

from hyperfitting.files import read_jsonl, to_jsonl, write_atomically

PARTS = ("choose", "train", "report", "report")
MIXED = 40


def part_of(text: str) -> str:
    """The part of a text: one of PARTS, by the first byte of its SHA-256."""
    return PARTS[hashlib.sha256(text.encode()).digest()[0] % len(PARTS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    mixed = []
    for file in args.files:
        rows = read_jsonl(file)
        for part in dict.fromkeys(PARTS):
            chosen = [row for row in rows if part_of(row["text"]) == part]
            write_atomically(args.output_dir / f"{file.stem}.{part}.jsonl", to_jsonl(chosen))
            print(f"{file.stem}.{part}.jsonl: {len(chosen)} texts")
            if part == "choose":
                mixed += chosen[:MIXED]
    write_atomically(args.output_dir / "mixed.choose.jsonl", to_jsonl(mixed))


if __name__ == "__main__":
    main()
