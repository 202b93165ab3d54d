"""A disk that is full, and what the operating system refuses: one message, nothing finished lost, no remains."""

import json
import sys

import pytest
from conftest import flags, read_losses, run

from hyperfitting.commands import generate, hyperfit, score

# In a process of its own, because a limit on the size of files holds for all that it writes.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from hyperfitting.commands.{command} import main
sys.exit(main(sys.argv[1:]))
"""


def limited(command, limit, *words):
    return run([sys.executable, "-c", LIMITED.format(limit=limit, command=command), *words])


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written(tiny, tmp_path, reference):
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    done = limited("hyperfit", 150_000, *values)  # Adam's state is larger
    shown = done.stderr
    assert done.returncode == 1 and shown.count("error: ") == 1 and "Traceback" not in shown, shown
    assert "step_0000010.tmp: " in shown and "free and about" in shown and "--resume auto" in shown
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert hyperfit.main([*values, "--resume", "auto"]) == 0
    assert read_losses(tmp_path / "run") == read_losses(reference)


@pytest.mark.slow
def test_generations_that_cannot_be_written(tiny, tmp_path):
    words = ["--model", tiny / "fp32", "--contexts", f"own={tiny / 'stories.jsonl'}", "--num_contexts", 8, "--ban_eos"]
    words += ["--context_len", 8, "--max_length", 100, "--batch_size", 2, "--output_dir", tmp_path / "g"]
    done = limited("generate", 4000, *words)
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list((tmp_path / "g").rglob("*.tmp"))
    assert generate.main([str(word) for word in words]) == 0
    assert len((tmp_path / "g" / "generations.jsonl").read_text().splitlines()) == 8


@pytest.mark.slow
def test_scores_that_cannot_be_written(tmp_path):
    rows = [{"id": str(i), "text": f"one {i} two three " * 40} for i in range(6)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = limited("score", 3000, tmp_path / "t.jsonl", "--output_dir", tmp_path / "s")
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "s" / "scores.json").exists() and not list((tmp_path / "s").glob("*.tmp"))
    assert score.main([str(tmp_path / "t.jsonl"), "--output_dir", str(tmp_path / "s")]) == 0


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12 bytes"), (3400, "3.4 kB"), (1.5e8, "150 MB"), (2e13, "20000 GB")]
)
def test_sizes_as_a_person_reads_them(count, shown):
    from hyperfitting.files import size_of

    assert size_of(count) == shown
