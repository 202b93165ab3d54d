"""Which files are meant by a local path: a file, a folder of files of one kind, or a data set as `datasets` writes or clones it."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..errors import UserError
from ..files import is_lfs_pointer, read_json
from .lines import COMPRESSED, kind_of_name

# What stands beside data and holds none, by its name.
NO_DATA = re.compile(
    r"(dataset_infos?|dataset_dict|state|config|metadata)\.(json|jsonl|csv)"
    r"|((readme|licen[cs]e|notice|requirements)([-._].*)?|copying|copyright|citation|contributing|changelog)\.txt"
    r"|((md5|sha\d+)(sums?)?|checksums?)\.txt",
    re.IGNORECASE,
)
SPLIT_WORDS = {  # as `datasets` reads them out of names of folders and files
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


@dataclass(frozen=True)
class Found:
    """The files that a source means.

    Attributes:
        files: in the order of their rows, all of one `kind` of `Codec.readers`.
        options: how they are read, where the data set's README says it: see `texts_of`.
        note: what was left out or chosen; empty where all was read.
    """

    files: list[Path]
    kind: str
    options: dict = field(default_factory=dict)
    note: str = ""


def find_files(path: Path, readers: Mapping[str, str], config: str | None, split: str) -> Found:
    """The files at `path` that hold documents.

    Args:
        readers: see `Codec.readers`.
        config, split: of a folder; a file has none.

    Raises:
        UserError: none, of several kinds, empty ones, a configuration or split that is not there.
    """
    if path.is_file():
        found = _one_file(path, readers, config, split)
    elif not path.is_dir():  # such as what `<(zcat …)` of a shell stands for
        raise UserError(
            f"dataset {path} is neither a file nor a folder: write what it gives into a file, which may be a .gz"
        )
    elif (path / "snapshots").is_dir() and (path / "refs").is_dir():
        raise UserError(
            f"dataset folder {path} is a folder of the Hub's cache, with a copy of each revision: give the Hub id, or a folder in "
            f"{path / 'snapshots'}"
        )
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        found = _saved_files(path, config, split)
    elif _has_configs(path):
        found = _declared_files(path, readers, config, split)
    else:
        found = _plain_files(path, readers, config, split)
    for file in found.files:
        if file.is_symlink() and not file.exists():
            raise UserError(
                f"dataset file {file} is a link to a file that is not there: fetch it (`git annex get`), or remove it"
            )
        if not file.is_file():
            raise UserError(f"dataset file {file} does not exist")
        if file.stat().st_size == 0:
            raise UserError(f"dataset file {file} is empty")
        if is_lfs_pointer(file):
            raise UserError(
                f"dataset file {file} is a Git-LFS pointer, which stands for the file and does not hold it: run `git lfs pull` "
                "in its folder"
            )
    return found


def _one_file(path: Path, readers: Mapping[str, str], config: str | None, split: str) -> Found:
    ending = kind_of_name(path)
    if ending not in readers:
        raise UserError(f"dataset {path} has the ending {path.suffix!r}; use one of {', '.join(readers)}")
    asked = [f"configuration {config!r}"] * (config is not None) + [f"split {split!r}"] * (split != "train")
    note = f"dataset file {path} has no {' and no '.join(asked)}: all of it is read" if asked else ""
    return Found([path], readers[ending], note=note)


def _check_split(path: Path, split: str, splits) -> None:
    if split not in splits:
        raise UserError(f"dataset folder {path} has no split {split!r}: set --dataset_split to {' or '.join(splits)}")


def _check_no_config(path: Path, config: str | None) -> None:
    if config not in (None, "default"):
        raise UserError(f"dataset folder {path} has no configurations: leave --dataset_config {config!r} out")


def _saved_files(path: Path, config: str | None, split: str) -> Found:
    """Those of `Dataset.save_to_disk` and `DatasetDict.save_to_disk`."""
    _check_no_config(path, config)
    note = ""
    if (path / "dataset_dict.json").is_file():
        splits = read_json(path / "dataset_dict.json").get("splits") or []
        _check_split(path, split, splits)
        if others := [name for name in splits if name != split]:
            note = f"dataset folder {path}: split {split!r} is read; left out: {', '.join(others)}"
        path = path / split
        if not (path / "state.json").is_file():
            raise UserError(f"dataset folder {path} does not exist, and dataset_dict.json beside it names it")
    state = read_json(path / "state.json")
    if not note:
        _check_split(path, split, dict.fromkeys(("train", state.get("_split") or "train")))
    try:
        files = [path / part["filename"] for part in state["_data_files"]]
    except (KeyError, TypeError):
        raise UserError(f"{path / 'state.json'} is damaged: it names no data files") from None
    if not files or state.get("_indices_data_files"):
        raise UserError(f"dataset folder {path} holds no rows, or is of an old version of datasets: save it again")
    return Found(files, "arrow", note=note)


def _has_configs(path: Path) -> bool:
    """Whether a README's header, or .huggingface.yaml, says which files are which split."""
    if (path / ".huggingface.yaml").is_file():
        return True
    if not (path / "README.md").is_file():
        return False
    header = re.match(
        r"\s*---\s*\n(.*?)\n---", (path / "README.md").read_text(encoding="utf-8-sig", errors="replace"), re.S
    )
    try:
        values = yaml.safe_load(header[1]) if header else None
    except yaml.YAMLError as error:
        raise UserError(f"{path / 'README.md'} has a header that is not YAML: {' '.join(str(error).split())}") from None
    configs = values.get("configs") if isinstance(values, dict) else None
    for config in configs if isinstance(configs, list) else ():
        if isinstance(config, dict) and isinstance(config.get("config_name"), bool):
            raise UserError(
                f"{path / 'README.md'} has a config_name that YAML reads as {str(config['config_name']).lower()}, as it does no, off, yes "
                "and on: put it in quotation marks"
            )
    return bool(configs)


def _declared_files(path: Path, readers: Mapping[str, str], config: str | None, split: str) -> Found:
    """Those that the data set's README names for a configuration and split, found by `datasets`."""
    import datasets

    with tempfile.TemporaryDirectory() as folder:
        mirror = Path(folder).resolve()
        _link_files(path, mirror)
        try:
            builder = datasets.load_dataset_builder(str(mirror), config)
            declared = {
                str(name): [path / Path(file).relative_to(mirror) for file in files]
                for name, files in (builder.config.data_files or {}).items()
            }
        except (
            Exception
        ) as error:  # of many classes; what they say names configurations, patterns, and places elsewhere
            reason = " ".join(str(error).split()).replace(str(mirror), str(path))
            raise UserError(f"dataset folder {path} cannot be read as its README.md says: {reason[:500]}") from None
    _check_split(path, split, declared)
    kinds = {readers.get(kind_of_name(file)) for file in declared[split]}
    if len(kinds) > 1 or None in kinds:
        endings = sorted({file.suffix for file in declared[split]})
        raise UserError(
            f"dataset folder {path} holds {', '.join(endings)} files; {', '.join(readers)} are read, of one kind"
        )
    others = [name for name in declared if name != split]
    name = builder.config.name
    note = f"dataset folder {path}: configuration {name!r}, split {split!r} as its README.md says ({_counted(len(declared[split]))})"
    note += f"; left out: {', '.join(others)}" if others else ""
    return Found(declared[split], kinds.pop(), _reader_options(builder.config, path), note)


def _link_files(path: Path, mirror: Path) -> None:
    """Links to the files of a folder in another one: `datasets` takes brackets, `::` and `#` in a path for patterns and URLs."""
    for file in _files_below(path):
        below = file.relative_to(path)
        if ".git" not in below.parts:
            (mirror / below).parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                (mirror / below).symlink_to(file.absolute())
            else:  # a broken link, which `datasets` would leave out
                (mirror / below).touch()


def _files_below(path: Path) -> Iterator[Path]:
    """The files below a folder, and the links to files, broken ones too; also below links to folders, each folder once."""
    seen = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (file for file in (Path(folder, name) for name in files) if file.is_file() or file.is_symlink())


def _reader_options(config, path: Path) -> dict:
    """What the README says of how to read the files.

    Raises:
        UserError: more than is known here.
    """
    general = {"name", "version", "data_dir", "data_files", "description", "features", "encoding"}
    usual = type(config)()
    said = {
        key: value
        for key, value in vars(config).items()
        if key not in general and value != getattr(usual, key) and not key.startswith("_")
    }
    delimiter = said.pop("delimiter", None) or said.pop("sep", None)
    said.pop("sep", None)
    options = {"field": said.pop("field", None), "delimiter": delimiter}
    said.pop("drop_labels", None), said.pop("drop_metadata", None)
    if said:
        raise UserError(
            f"dataset folder {path}: its README.md asks to read with {', '.join(f'{k}={v!r}' for k, v in said.items())}, which "
            "is not done here: write the rows into a .jsonl file"
        )
    return {key: value for key, value in options.items() if value is not None}


def _plain_files(path: Path, readers: Mapping[str, str], config: str | None, split: str) -> Found:
    """The files of one kind below a folder; of a split where their names say splits."""
    _check_no_config(path, config)
    files, left = _readable_files(path, readers)
    if not files:
        beside = f"; there are {_listed(left)}" if left else ""
        raise UserError(f"dataset folder {path} holds no {', '.join(readers)} file{beside}")
    splits = _splits_by_name(path, files)
    if not splits:
        _check_split(path, split, ["train"])
    elif split not in splits:
        counts = ", ".join(f"{name} ({_counted(len(part))})" for name, part in splits.items())
        raise UserError(
            f"dataset folder {path} has no split {split!r}: by the names of its files it has {counts}; set --dataset_split to "
            "one of them, or give a file"
        )
    else:
        left.update({f"of split {name!r}": len(part) for name, part in splits.items() if name != split})
        left["of no split"] = len(set(files).difference(*splits.values()))
        files = splits[split]
    kinds = {readers[kind_of_name(file)] for file in files}
    if len(kinds) > 1:
        raise UserError(f"dataset folder {path} mixes {' and '.join(sorted(kinds))} files; give a folder of one kind")
    left = +left
    note = f"dataset folder {path}: {_counted(len(files))} read; left out: {_listed(left)}" if left else ""
    return Found(files, kinds.pop(), note=note)


def _readable_files(path: Path, readers: Mapping[str, str]) -> tuple[list[Path], Counter[str]]:
    """The files below a folder that can hold documents, and how many others there are of each sort."""
    files, left = [], Counter()
    for file in sorted(_files_below(path)):
        kind = readers.get(kind_of_name(file))
        known = NO_DATA.fullmatch(file.name.removesuffix(file.suffix) if file.suffix in COMPRESSED else file.name)
        if any(part.startswith((".", "__")) for part in file.relative_to(path).parts):
            left["hidden"] += kind is not None
        elif kind is None:
            left[f"with the ending {file.suffix}"] += file.suffix not in ("", ".md")
        elif known and kind in ("json", "csv", "text"):
            left[f"no data ({file.name})"] += 1
        elif file.suffix.lower() in COMPRESSED and file.with_suffix("").is_file():
            left["compressed beside the same uncompressed"] += 1
        else:
            files.append(file)
    return files, +left


def _splits_by_name(path: Path, files: list[Path]) -> dict[str, list[Path]]:
    """The splits that `datasets` sees in names: those of shards in data/, else of folders, else of files; none where it
    takes all for one, unless there are two or more in capital letters."""
    found: dict[str, list[Path]] = {}
    for file in files:
        match = re.match(r"(.+)-\d{5}-of-\d{5}.*\..", file.name)
        if match and file.parent == path / "data":
            found.setdefault(match[1], []).append(file)
    if found:
        return found
    for case, least in ((str, 1), (str.lower, 2)):  # one is a title, such as `Night Train.txt`
        for part in (slice(-1), slice(-1, None)):  # folders, then the file
            parts = {file: [case(name) for name in file.relative_to(path).parts[part]] for file in files}
            for split, words in SPLIT_WORDS.items():
                found[split] = [file for file in files if _names_one(words, parts[file])]
            found = {split: told for split, told in found.items() if told}
            if len(found) >= least:
                return found
    return {}


def _names_one(words: tuple[str, ...], parts: list[str]) -> bool:
    return any(word in words for part in parts for word in re.split(r"[-._ 0-9]", part))


def _counted(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _listed(left: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in left.items())
