"""Which programs read a hyperfitted model as they read its source: the table in docs/use.md.

    python benchmarks/readers.py --output_dir readers                          # all of them, half an hour and 15 GB
    python benchmarks/readers.py --output_dir readers --readers mlx-lm lm-eval # some of them

Each tiny source of tests/fixtures, which transformers 4.57 wrote, is hyperfitted a little. Every program then reads source
and `final/` in a virtual environment of its own, which is made from PyPI and kept in the output folder, and says what ids
200 texts have and which token is the likeliest after each of 400 positions. Both are compared with what the transformers
of this environment says of the same folder. One thing may differ: ids of programs that add no start token are compared
without it.
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

import reading
import transformers
from common import circumstances

from hyperfitting import Hyperfitter

SOURCES = Path(__file__).parents[1] / "tests" / "fixtures" / "sources"
TORCH = "torch==2.13.0"
READERS = {  # name -> (function of reading.py, what pip installs)
    "transformers 4.46": ("transformers", [TORCH, "transformers==4.46.3", "sentencepiece", "protobuf"]),
    "transformers 4.57": ("transformers", [TORCH, "transformers==4.57.6", "sentencepiece", "protobuf"]),
    "transformers 5.0": ("transformers", [TORCH, "transformers==5.0.0", "sentencepiece", "protobuf"]),
    "transformers 5.24": ("transformers", [TORCH, "transformers==5.24.0"]),
    "mlx-lm": ("mlx_lm", ["mlx-lm==0.32.2", "mlx[cpu]"]),
    "CTranslate2": ("ctranslate2", [TORCH, "ctranslate2==4.8.5", "transformers==5.24.0"]),
    "llama.cpp": ("llama_cpp", [TORCH, "llama-cpp-python==0.3.36", "transformers==4.57.6", "sentencepiece", "protobuf",
                                "gguf"]),
    "lm-eval": ("lm_eval", [TORCH, "lm_eval[hf]==0.4.13"]),
    "mergekit": ("mergekit", [TORCH, "mergekit==0.1.4"]),
}  # fmt: skip
WORDS = "The boat lay on the sand. “Far?” Zwölf 1987 снег\n\treturn never 雪 birds, hadn't  seen".split(" ")


def make_request(folder: Path) -> Path:
    choice = random.Random(0)
    texts = [" ".join(choice.choices(WORDS, k=choice.randrange(1, 40))) for _ in range(200)]
    ids = [[place * 7919 % 400 for place in range(row * 200, row * 200 + 200)] for row in range(2)]
    rows = "".join(json.dumps({"text": f"{text} {' '.join(WORDS)}"}) + "\n" for text in texts)
    (folder / "rows.jsonl").write_text(rows)
    (folder / "request.json").write_text(json.dumps({"texts": texts, "ids": ids}))
    return folder / "request.json"


def hyperfitted(family: str, folder: Path) -> Path:
    run = folder / "runs" / family
    if not (run / "result.json").exists():
        recipe = dict(seq_len=16, num_train=8, num_validation=2, epochs=2, learning_rate=1e-3, probe_contexts=0)
        Hyperfitter(
            str(SOURCES / family),
            dataset=str(folder / "rows.jsonl"),
            output_dir=str(run),
            **recipe,
            save_dtype="float32",
        ).fit(overwrite=run.exists())
    return run / "final"


def environment(name: str, packages: list[str], folder: Path) -> Path:
    """The Python of a reader's environment, made when it is not there."""
    where = folder / "environments" / name.replace(" ", "-")
    if not (where / "made").exists():
        print(f"installing {name}: {' '.join(packages)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", where], check=True)
        subprocess.run([where / "bin/pip", "install", "--quiet", *packages], check=True)
        if name == "llama.cpp":  # whose converter is in the source distribution alone
            sdist = [
                where / "bin/pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                ":all:",
                "--dest",
                where,
                packages[1],
            ]
            subprocess.run(sdist, check=True)
            (where / "sdist").mkdir()
            (archive,) = where.glob("llama_cpp_python-*.tar.gz")
            subprocess.run(["tar", "xf", archive, "-C", where / "sdist"], check=True)
        (where / "made").touch()
    return where / "bin/python"


def read(python: Path, kind: str, folder: Path, request: Path) -> dict:
    answer = request.with_name("answer.json")
    subprocess.run([python, reading.__file__, kind, folder, request, answer], check=True, capture_output=True)
    return json.loads(answer.read_text())


def agreement(said: dict, expected: dict) -> str:
    """Shares of positions and of texts that are as expected, or the error."""
    if "error" in said:
        return said["error"]
    positions = [a == b for mine, other in zip(said["chosen"], expected["chosen"], strict=True)
                 for a, b in zip(mine, other, strict=True)]  # fmt: skip
    texts = [a in (b, b[1:]) for a, b in zip(said["encoded"], expected["encoded"], strict=True)]
    return f"{sum(positions) / len(positions):.3f}, {sum(texts)} of {len(texts)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    arguments = parser.parse_args()
    folder = arguments.output_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    request = make_request(folder)
    families = sorted(path.name for path in SOURCES.iterdir())
    folders = {family: {"source": SOURCES / family, "final": hyperfitted(family, folder)} for family in families}
    here = Path(sys.executable)
    expected = {
        (family, which): read(here, "transformers", where, request)
        for family, both in folders.items()
        for which, where in both.items()
    }
    table, versions = {}, {}
    for name in arguments.readers:
        kind, packages = READERS[name]
        python = environment(name, packages, folder)
        frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
        versions[name] = frozen.splitlines()
        table[name] = {
            family: {
                which: agreement(read(python, kind, where, request), expected[family, which])
                for which, where in both.items()
            }
            for family, both in folders.items()
        }
        for family, both in table[name].items():
            print(f"{name:18} {family:8} source: {both['source']:60} final: {both['final']}", flush=True)
    result = {
        "what": "share of 400 positions with the arg-max, and texts with the ids, of transformers here",
        "transformers": transformers.__version__,
        **circumstances(),
        "table": table,
        "versions": versions,
    }
    (folder / "readers.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
