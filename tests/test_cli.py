"""Mistakes at the command line: a non-zero exit, one clear message, nothing written or overwritten."""

import sys

import pytest
from conftest import LAUNCH, flags, run

from hyperfitting.commands.hyperfit import main


def paths_below(folder):
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


MISTAKES = {
    "missing model": ({"model": "gone/folder"}, "'gone/folder' cannot be loaded"),
    "no model": ({"model": "none"}, "no model: give --model"),
    "missing dataset": ({"dataset": "gone.jsonl"}, "dataset gone.jsonl does not exist"),
    "empty corpus": ({"dataset": "EMPTY"}, "is empty"),
    "wrong column": ({"text_column": "body"}, "no column 'body'"),
    "too few rows": ({"num_train": 1000}, "rows of 64 tokens, 1005 are needed"),
    "beyond the window": ({"seq_len": 200, "probe_contexts": 0}, "must fit the model's window of 128 tokens"),
    "unknown key": ({"learning_rat": 1}, "unknown flag --learning_rat, did you mean '--learning_rate'?"),
    "indivisible batch": ({"per_device_train_batch_size": 3}, "does not divide global_batch_size 8"),
    "not writable": ({"output_dir": "/proc/run"}, "output_dir /proc/run is not writable"),
    "an unknown tracker": ({"report_to": "wandb_"}, "unknown tracker 'wandb_', did you mean 'wandb'? (there are all,"),
    "a tracker that is not there": ({"report_to": "clearml"}, "report_to: the package of clearml is not installed"),
    "no seed for documents": ({"data_seed": -1}, "data_seed must be at least 0, not -1"),
    "a seed beyond the generator's": ({"seed": 2**60}, "seed must be at most 8796093022207"),
    "resume is no switch": ({"resume": "yes"}, "checkpoint yes is not one of run"),
    "a misspelt built-in model": (
        {"model": "builtin/base"},
        "called 'builtin/base', did you mean 'builtin/base_model'?",
    ),
    "a misspelt built-in text": ({"dataset": "builtin/story"}, "did you mean 'builtin/stories'?"),
    "resume and overwrite": ({"resume": "auto", "overwrite": True}, "give one of them"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input(mistake, tiny, tmp_path, capsys):
    changes, message = MISTAKES[mistake]
    (tmp_path / "empty.jsonl").touch()
    values = {"model": tiny / "fp32", "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run", **changes}
    values["dataset"] = tmp_path / "empty.jsonl" if values["dataset"] == "EMPTY" else values["dataset"]
    assert main(flags(**values)) == 2
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and message in shown and "Traceback" not in shown
    assert not [path for path in (tmp_path / "run").rglob("*") if path.name != ".lock"]
    assert mistake != "resume is no switch" or not (tmp_path / "run").exists()


def test_a_tracker_is_looked_for_before_anything_else(tiny, tmp_path, capsys):
    values = flags(model="gone/model", dataset="gone.jsonl", output_dir=tmp_path / "run", report_to="tensorbord")
    assert main(values) == 2
    assert "unknown tracker 'tensorbord', did you mean 'tensorboard'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_left_alone(reference, tiny, capsys):
    before = paths_below(reference)
    arguments = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=reference)
    assert main(arguments) == 2
    assert "holds a run: continue it with --resume auto, replace it with --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--resume", "auto", "--learning_rate", "1"]) == 2
    assert "learning_rate was 0.001 and is now 1.0" in capsys.readouterr().err
    assert main([*arguments, "--resume", "nowhere"]) == 2
    assert "checkpoint nowhere is not one of run" in capsys.readouterr().err
    assert [entry for entry in paths_below(reference) if entry[0].name != ".lock"] == [
        e for e in before if e[0].name != ".lock"
    ]


def test_a_folder_that_is_no_run_is_left_alone(tiny, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    arguments = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path, overwrite=True)
    assert main(arguments) == 2
    assert "holds files that are not a run" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_overwrite_replaces_a_run(tiny, tmp_path, capsys):
    arguments = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", epochs=1)
    assert main(arguments) == 0
    first = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert main([*arguments, "--overwrite", "--seed", "1"]) == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() != first


@pytest.mark.slow
def test_exit_code_and_message_through_accelerate_launch(tiny, tmp_path):
    values = flags(model=tiny / "fp32", dataset="gone.jsonl", output_dir=tmp_path / "run", epoch=3)
    done = run([*LAUNCH, "--config_file", "accelerate_configs/single.yaml", "launch/hyperfit.py", *values])
    assert done.returncode != 0
    assert "unknown flag --epoch, did you mean '--epochs'?" in done.stderr and "Traceback" not in done.stderr


LAUNCHES = {
    "a CPU flag that starts one process": (["--cpu", "--num_processes", 2], {}, "asks for ddp on 2 process(es), but"),
    "FSDP2 without a GPU": (
        ["--config_file", "accelerate_configs/fsdp2.yaml", "--num_processes", 2],
        {},
        "asks for fsdp on 2",
    ),
    "DeepSpeed that would become DDP": (
        ["--config_file", "accelerate_configs/zero2.yaml", "--num_processes", 2],
        {"ACCELERATE_USE_CPU": "true"},
        "asks for deepspeed on 2 process(es), but Accelerate started ddp on 2",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_launch_that_is_not_what_was_asked_for_is_refused(launch, tiny, tmp_path):
    arguments, environment, message = LAUNCHES[launch]
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    done = run([*LAUNCH, *arguments, "launch/hyperfit.py", "--cpu", *values], **environment)
    assert done.returncode != 0 and message in done.stderr, done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
def test_several_processes_without_a_gpu_need_the_cpu_flag(tiny, tmp_path):
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    config = ["--config_file", "accelerate_configs/ddp.yaml", "--num_processes", 2]
    done = run([*LAUNCH, *config, "launch/hyperfit.py", *values], CUDA_VISIBLE_DEVICES="")
    assert done.returncode != 0 and "no GPU was found: add --cpu" in done.stderr


def test_help_lists_every_field():
    done = run([sys.executable, "launch/hyperfit.py", "--help"])
    assert done.returncode == 0 and "--stop_when_saturated" in done.stdout and "[2000]" in done.stdout


@pytest.mark.parametrize("raised", ["in transformers", "elsewhere"])
def test_a_torchvision_of_another_build_is_named(raised, tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)

    def unimportable(*arguments, **options):
        raise ModuleNotFoundError(
            "Could not import module 'LlamaConfig'. Are this object's requirements defined correctly?"
        )

    if raised == "elsewhere":
        monkeypatch.setattr("hyperfitting.training.hyperfitter.load_config", unimportable)
    else:
        monkeypatch.setattr("transformers.AutoConfig.from_pretrained", unimportable)
    values = {"model": tiny / "fp32", "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run"}
    assert main(flags(**values)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(
        "error: torchvision is installed and does not go with this torch (operator torchvision::nms"
    )
    assert "pip uninstall torchvision" in shown
