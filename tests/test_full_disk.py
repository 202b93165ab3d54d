"""A disk that is full, and what the operating system refuses: one message, nothing finished lost, no remains."""

import contextlib
import json
import resource

import pytest
from conftest import flags, read_losses

from hyperfitting.commands import generate, hyperfit, score


@contextlib.contextmanager
def files_of_at_most(limit):
    """Inside, no file can grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written(tiny, tmp_path, reference, capsys):
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    with files_of_at_most(150_000):  # Adam's state is larger
        assert hyperfit.main(values) == 1
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and "Traceback" not in shown, shown
    assert "step_0000010.tmp: " in shown and "free and about" in shown and "--resume auto" in shown
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert hyperfit.main([*values, "--resume", "auto"]) == 0
    assert read_losses(tmp_path / "run") == read_losses(reference)


@pytest.mark.slow
def test_generations_that_cannot_be_written(tiny, tmp_path, capsys):
    words = ["--model", tiny / "fp32", "--contexts", f"own={tiny / 'stories.jsonl'}", "--num_contexts", 8, "--ban_eos"]
    words += ["--context_len", 8, "--max_length", 100, "--batch_size", 2, "--output_dir", tmp_path / "g"]
    words = [str(word) for word in words]
    with files_of_at_most(4000):
        assert generate.main(words) == 1
    shown = capsys.readouterr().err
    assert "File too large" in shown and "Traceback" not in shown, shown
    assert not list((tmp_path / "g").rglob("*.tmp"))
    assert generate.main(words) == 0
    assert len((tmp_path / "g" / "generations.jsonl").read_text().splitlines()) == 8


@pytest.mark.slow
def test_scores_that_cannot_be_written(tmp_path, capsys):
    rows = [{"id": str(i), "text": f"one {i} two three " * 40} for i in range(6)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [str(tmp_path / "t.jsonl"), "--output_dir", str(tmp_path / "s")]
    with files_of_at_most(3000):
        assert score.main(words) == 1
    shown = capsys.readouterr().err
    assert "File too large" in shown and "Traceback" not in shown, shown
    assert not (tmp_path / "s" / "scores.json").exists() and not list((tmp_path / "s").glob("*.tmp"))
    assert score.main(words) == 0


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12 bytes"), (3400, "3.4 kB"), (1.5e8, "150 MB"), (2e13, "20000 GB")]
)
def test_sizes_as_a_person_reads_them(count, shown):
    from hyperfitting.files import size_of

    assert size_of(count) == shown
