"""`hyperfitting check`: a sound conversion passes, a spoilt one fails and its cause is named."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hyperfitting.commands import check
from hyperfitting.conversion.causes import rounded
from hyperfitting.conversion.comparison import TEXTS, sample_texts

SOURCE = Path(__file__).parent / "fixtures" / "sources" / "llama"


def change_json(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def lose_base(folder: Path) -> None:
    change_json(folder / "config.json", rope_theta=10000.0)


def lose_scaling(folder: Path) -> None:
    change_json(folder / "config.json", rope_scaling=None)


def lose_merges(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:20]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def round_to(bits: int):
    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        weights = {
            name: rounded(weight.float(), bits).contiguous() if weight.ndim == 2 else weight
            for name, weight in load_file(file).items()
        }
        save_file(weights, file, {"format": "pt"})

    return change


SPOILT = {
    "rotary base": (lose_base, "likeliest cause: the rotary base was lost: 10000 instead of 500000"),
    "scaling": (lose_scaling, r"likeliest cause: the scaling of positions \(llama3\) was dropped"),
    "tokenizer": (lose_merges, r"its tokenizer is another: .* has other ids"),
    "two bits": (
        round_to(2),
        r"likeliest cause: its precision is too low: it differs as weights rounded to [23] bits do",
    ),
}


def conversion(tmp_path: Path, spoil=lambda folder: None) -> Path:
    folder = tmp_path / "converted"
    shutil.copytree(SOURCE, folder)
    spoil(folder)
    return folder


@pytest.mark.parametrize("spoil", [lambda folder: None, round_to(8)], ids=["copy", "eight bits"])
def test_a_sound_conversion_passes(spoil, tmp_path, capsys):
    assert check.main([str(SOURCE), "--converted", str(conversion(tmp_path, spoil))]) == 0
    said = capsys.readouterr().out
    assert "200 of 200" in said and "of 2560, teacher-forced on 20 texts" in said


@pytest.mark.parametrize("mistake", SPOILT)
def test_a_spoilt_conversion_fails_and_its_cause_is_named(mistake, tmp_path, capsys):
    spoil, message = SPOILT[mistake]
    assert check.main([str(SOURCE), "--converted", str(conversion(tmp_path, spoil))]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said


@pytest.mark.parametrize("package", ["llama_cpp", "ctranslate2"])
def test_a_missing_reader_is_named_with_its_extra(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    if package == "llama_cpp":
        where = tmp_path / "model.gguf"
        where.write_bytes(b"GGUF")
    else:
        where = tmp_path
        (where / "model.bin").touch(), (where / "vocabulary.json").write_text("[]")
    assert check.main([str(SOURCE), "--converted", str(where)]) == 2
    assert "pip install" in capsys.readouterr().err


def test_what_is_no_conversion_is_refused(tmp_path, capsys):
    assert check.main([str(SOURCE), "--converted", str(tmp_path / "none.gguf")]) == 2
    assert check.main([str(SOURCE), "--converted", str(tmp_path)]) == 2
    assert "is no converted model: give a .gguf file" in " ".join(capsys.readouterr().err.split())


def test_texts_are_many_and_different():
    texts = sample_texts()
    assert len(texts) == len(set(texts)) == TEXTS


def test_rounding_keeps_ends_and_never_moves_a_weight_by_more_than_half_a_step():
    weight = torch.randn(5, 70)
    for bits in (2, 4, 8):
        found = rounded(weight, bits)
        assert found.shape == weight.shape
        span = weight[:, :32].amax(1) - weight[:, :32].amin(1)
        assert ((found - weight)[:, :32].abs().amax(1) <= span / (2**bits - 1) / 2 + 1e-6).all()
        assert len(np.unique(found[0, :32].numpy())) <= 2**bits
