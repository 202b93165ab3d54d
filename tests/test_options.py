"""One options mechanism for all commands: fields are the keys of a file and the flags, checked all at once."""

import sys
import typing
from dataclasses import dataclass

import pytest
import yaml
from conftest import LAUNCH, REPOSITORY, flags, run

from hyperfitting import Recipe, RecipeError
from hyperfitting.commands import (
    convert,
    generate,
    hyperfit,
    main,
    preference_build,
    preference_export,
    preference_import,
    preference_judge,
    preference_power,
    preference_serve,
    preference_status,
    preference_table,
    score,
)
from hyperfitting.commands.command_line import read_command_line
from hyperfitting.options import REQUIRED, Options, OptionsError, field_help, name_and_place, option

# Every option of every command: a new one is a decision.
INVOCATION = {"config": (None, "str | None")}
PAGE = {"five_point": (False, "bool"), "comments": (False, "bool"), "break_every": (25, "int")}
FROZEN = {
    hyperfit.FitInvocation: {
        **INVOCATION,
        "resume": (None, "str | None"),
        "overwrite": (False, "bool"),
        "verify_checkpoint": (True, "bool"),
        "trust_checkpoint": (False, "bool"),
        "dry_run": (False, "bool"),
        "cpu": (False, "bool"),
    },
    Recipe: {
        "model": (None, "str | None"),
        "revision": (None, "str | None"),
        "tokenizer": (None, "str | None"),
        "trust_remote_code": (False, "bool"),
        "gradient_checkpointing": (False, "bool"),
        "torch_compile": (False, "bool"),
        "dataset": (None, "str | None"),
        "validation_dataset": (None, "str | None"),
        "dataset_config": (None, "str | None"),
        "dataset_split": ("train", "str"),
        "text_column": ("text", "str"),
        "seq_len": (256, "int"),
        "num_train": (2000, "int"),
        "num_validation": (100, "int"),
        "pack": (False, "bool"),
        "data_seed": (0, "int"),
        "epochs": (20, "int"),
        "learning_rate": (1e-6, "float"),
        "weight_decay": (0.0, "float"),
        "adam_beta1": (0.9, "float"),
        "adam_beta2": (0.999, "float"),
        "adam_epsilon": (1e-8, "float"),
        "global_batch_size": (8, "int"),
        "per_device_train_batch_size": (None, "int | None"),
        "mixed_precision": (None, "str | None"),
        "seed": (0, "int"),
        "stop_at_loss": (None, "float | None"),
        "stop_when_saturated": (False, "bool"),
        "saturation_loss": (0.1, "float"),
        "saturation_patience": (3, "int"),
        "eval_steps": (None, "int | None"),
        "per_device_eval_batch_size": (8, "int"),
        "probe_contexts": (32, "int"),
        "probe_context_len": (32, "int"),
        "probe_max_length": (256, "int"),
        "output_dir": ("runs/hyperfit", "str"),
        "save_steps": (None, "int | None"),
        "keep_checkpoints": (2, "int"),
        "keep_early_stopped": (False, "bool"),
        "save_dtype": (None, "str | None"),
        "report_to": ("none", "str"),
        "push_to_hub": (False, "bool"),
        "hub_model_id": (None, "str | None"),
        "accelerate_config": (None, "str | None"),
    },
    generate.Invocation: INVOCATION,
    generate.GenerateOptions: {
        "model": (REQUIRED, "str"),
        "revision": (None, "str | None"),
        "tokenizer": (None, "str | None"),
        "trust_remote_code": (False, "bool"),
        "dtype": ("auto", "str"),
        "gpus_per_model": (1, "int"),
        "contexts": (REQUIRED, "tuple[str, ...]"),
        "num_contexts": (300, "int"),
        "context_len": (None, "int | None"),
        "text_column": ("text", "str"),
        "dataset_config": (None, "str | None"),
        "dataset_split": ("train", "str"),
        "data_seed": (0, "int"),
        "export_contexts": (None, "str | None"),
        "policy": (("greedy",), "tuple[str, ...]"),
        "max_length": (None, "int | None"),
        "ban_eos": (False, "bool"),
        "seed": (0, "int"),
        "batch_size": (None, "int | None"),
        "train_rows": (None, "str | None"),
        "train_rows_column": ("text", "str"),
        "blocker_n": (5, "int"),
        "output_dir": (REQUIRED, "str"),
        "import_records": (None, "str | None"),
        "parquet": (False, "bool"),
    },
    convert.ConvertOptions: {
        "model": (REQUIRED, "str"),
        "revision": (None, "str | None"),
        "output_dir": (REQUIRED, "str"),
    },
    score.ScoreInvocation: {**INVOCATION, "overwrite": (False, "bool")},
    score.ScoreOptions: {
        "sets": ((), "tuple[str, ...]"),
        "group": ((), "tuple[str, ...]"),
        "baseline": (None, "str | None"),
        "train_rows": (None, "str | None"),
        "train_rows_column": ("text", "str"),
        "tokenizer": (None, "str | None"),
        "text_column": ("text", "str"),
        "token_column": ("token_ids", "str"),
        "metrics": ((), "tuple[str, ...]"),
        "model_scores": (False, "bool"),
        "model_scores_of": ("both", "str"),
        "preference": (None, "str | None"),
        "mauve_model": (None, "str | None"),
        "inception_weights": (None, "str | None"),
        "per_device_eval_batch_size": (8, "int"),
        "dtype": ("float32", "str"),
        "trust_remote_code": (False, "bool"),
        "output_dir": (REQUIRED, "str"),
        "latex": (False, "bool"),
    },
    preference_serve.ServeOptions: {
        **PAGE,
        "study": (REQUIRED, "str"),
        "host": ("127.0.0.1", "str"),
        "port": (8017, "int"),
        "public_url": (None, "str | None"),
        "forwarded_allow_ips": (None, "str | None"),
        "register": (0, "int"),
        "completion_code": (None, "str | None"),
    },
    preference_export.ExportInvocation: {**INVOCATION, "overwrite": (False, "bool")},
    preference_export.ExportOptions: {
        **PAGE,
        "study": (REQUIRED, "str"),
        "format": ("html", "str"),
        "output_dir": (REQUIRED, "str"),
    },
    preference_import.ImportOptions: {
        "study": (REQUIRED, "str"),
        "files": ((), "tuple[str, ...]"),
        "consent": (None, "str | None"),
    },
    preference_judge.JudgeInvocation: {
        **INVOCATION,
        "concurrency": (8, "int"),
        "api_key_variable": ("OPENAI_API_KEY", "str"),
    },
    preference_judge.JudgeOptions: {
        "study": (REQUIRED, "str"),
        "model": (REQUIRED, "str"),
        "endpoint": (None, "str | None"),
        "max_tokens": (512, "int"),
        "dtype": ("auto", "str"),
        "trust_remote_code": (False, "bool"),
    },
    preference_build.BuildOptions: {
        "sets": ((), "tuple[str, ...]"),
        "against": ("original", "str"),
        "length": (("256",), "tuple[str, ...]"),
        "num_contexts": (None, "int | None"),
        "tokenizer": (None, "str | None"),
        "text_column": ("text", "str"),
        "annotators": (6, "int"),
        "votes": (3, "int"),
        "repeats": (0.05, "float"),
        "checks": (0.05, "float"),
        "most_failed": (0.25, "float"),
        "seed": (0, "int"),
        "output_dir": (REQUIRED, "str"),
    },
    preference_status.StatusOptions: {"study": (REQUIRED, "str")},
    preference_table.TableOptions: {"study": (REQUIRED, "str"), "baseline": (None, "str | None")},
    preference_power.PowerOptions: {
        "contexts": (300, "int"),
        "votes": (3, "int"),
        "annotators": (20, "int"),
        "words": (360, "int"),
        "difference": (5, "float"),
        "share": (40, "float"),
        "study": (None, "str | None"),
        "ties": (15, "float"),
        "context_effect": (0.5, "float"),
        "text_effect": (0.5, "float"),
        "annotator_effect": (0.2, "float"),
        "taste_effect": (0.1, "float"),
        "tie_spread": (0.2, "float"),
        "simulations": (500, "int"),
        "seed": (0, "int"),
    },
}


@pytest.mark.parametrize("options", FROZEN, ids=lambda options: options.__name__)
def test_the_options_of_the_commands_are_these(options):
    kinds = typing.get_type_hints(options)
    names = {name: str(kind) if typing.get_args(kind) else kind.__name__ for name, kind in kinds.items()}
    found = {name: (field.default, names[name]) for name, field in options.__dataclass_fields__.items()}
    assert found == FROZEN[options]
    assert all(len(text) > 15 for _, _, text in field_help(options))


# What a resumed run may change: it changes how long or how fast, not what a step computes; and what is kept.
MAY_CHANGE = {
    *("gradient_checkpointing", "torch_compile", "per_device_train_batch_size"),
    *("eval_steps", "per_device_eval_batch_size"),
    *("epochs", "stop_at_loss", "stop_when_saturated", "saturation_loss", "saturation_patience"),
    *("output_dir", "save_steps", "keep_checkpoints", "keep_early_stopped", "save_dtype", "report_to", "push_to_hub"),
    *("hub_model_id", "accelerate_config"),
}


def test_what_a_resumed_run_may_change():
    assert {name for name, f in Recipe.__dataclass_fields__.items() if f.metadata["may_change"]} == MAY_CHANGE
    changed = Recipe.load(epochs=3, learning_rate=1).changes_from(Recipe.load())
    assert changed == ["learning_rate was 1e-06 and is now 1.0"]


@dataclass(kw_only=True)
class Sample(Options):
    where: str = option(REQUIRED, "A place that must be named.")
    size: int = option(4, "A size with two bounds.", least=1, greatest=8, hint="halve it")
    share: float = option(0.5, "A share with open bounds.", above=0, below=1)
    color: str | None = option(None, "One of three.", choices=("red", "green", "blue"))
    pack: bool = option(False, "A switch.")
    names: tuple[str, ...] = option((), "Several, each with its flag.")
    more: tuple[str, ...] = option(("a", "b"), "Several after one flag.", words="together")
    rest: tuple[str, ...] = option((), "Several without a flag.", words="positional")

    def problems(self) -> list[str]:
        return ["names are as many as size"] if self.names and len(self.names) != self.size else []


def read(*words) -> Options:
    return read_command_line(list(words), command="sample", about="", options=Sample)[1]


def test_lists_and_switches_on_a_command_line():
    given = read("x", "y", "--where", "here", "--more", "c", "--names=1", "--names", "2", "--size", "2", "--pack")
    assert given == Sample(where="here", rest=("x", "y"), more=("c",), names=("1", "2"), size=2, pack=True)
    assert read("--where", "here", "--pack", "x") == Sample(where="here", pack=True, rest=("x",))
    assert read("--where", "here", "--pack", "false", "x") == Sample(where="here", rest=("x",))


def test_a_file_holds_what_flags_say_and_flags_go_over_it(tmp_path):
    options = Sample(where="here", names=("1", "2"), size=2, color="red", pack=True)
    options.save(tmp_path / "o.yaml")
    assert yaml.safe_load((tmp_path / "o.yaml").read_text())["names"] == ["1", "2"]
    assert Sample.load(tmp_path / "o.yaml") == options
    _, read_back = read_command_line(
        ["--config", str(tmp_path / "o.yaml"), "--pack", "false", "--names", "3", "--size", "1"],
        command="sample",
        about="",
        options=Sample,
        invocation=generate.Invocation,
    )
    assert read_back == Sample(where="here", names=("3",), size=1, color="red")


def test_whole_numbers_are_read_to_their_last_digit():
    """A float holds 15 of them; a seed that was rounded would be another seed."""
    for value in ("8796093022207", 2**53 + 1, str(2**62 + 1), "1e3", 4.0):
        assert generate.GenerateOptions.load(model="m", contexts=("c",), output_dir="o", seed=value).seed == int(
            float(value) if value == "1e3" else value
        )


def test_seeds_and_epochs_are_what_generators_take():
    import numpy
    import torch

    from hyperfitting.training.steps import epoch_order

    bounds = Recipe.__dataclass_fields__["seed"].metadata
    last = Recipe.__dataclass_fields__["epochs"].metadata["greatest"] - 1
    orders = [epoch_order(64, seed, epoch) for seed in (bounds["least"], bounds["greatest"]) for epoch in (0, last)]
    assert not any(torch.equal(a, b) for i, a in enumerate(orders) for b in orders[:i])
    with pytest.raises(OptionsError) as error:
        Recipe.load(seed=bounds["greatest"] + 1, data_seed=-1, epochs=last + 2)
    assert error.value.problems == [
        "seed must be at most 8796093022207, not 8796093022208",
        "data_seed must be at least 0, not -1",
        "epochs must be at most 1048576, not 1048577",
    ]
    numpy.random.default_rng(Recipe.load(data_seed="9" * 400).data_seed)  # which takes any number from 0
    with pytest.raises(OptionsError, match=f"data_seed must be at least 0.*\n.*seed must be at most {2**63 - 1}"):
        generate.GenerateOptions.load(model="m", contexts=("c",), output_dir="o", data_seed=-1, seed=2**63)
    with pytest.raises(OptionsError, match="blocker_n must be at most 1024"):
        generate.GenerateOptions.load(model="m", contexts=("c",), output_dir="o", blocker_n=10**30)
    with pytest.raises(OptionsError, match="seed: expected a finite number"):
        Recipe.load(seed="9" * 5000)


def test_a_tilde_is_the_home_folder_where_a_path_may_stand(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.yaml").write_text("dataset: ~/d.jsonl\ntext_column: ~/column\n")
    recipe = Recipe.load("~/r.yaml", output_dir="~/runs/x", model="~/m")
    home = str(tmp_path)
    assert (recipe.dataset, recipe.output_dir, recipe.model) == (f"{home}/d.jsonl", f"{home}/runs/x", f"{home}/m")
    assert recipe.text_column == "~/column"  # no path
    assert name_and_place("mine=~/a=b.jsonl") == ("mine", f"{home}/a=b.jsonl")
    (tmp_path / "a=b.jsonl").touch()
    assert name_and_place("~/a=b.jsonl") == (None, f"{home}/a=b.jsonl")
    assert name_and_place("=x.jsonl") == (None, "=x.jsonl")


def test_words_of_a_file_are_read_as_they_are_written(tmp_path):
    """YAML 1.1 takes no and off for false, 012 for 10, 1:30 for 90, and cannot make a date of 2026-13-01."""
    words = ["no", "off", "Yes", "012", "1:30", "1_000", "0x1F", "1.50", "2026-13-01", "2026-01-01 10:00", "="]
    for word in words:
        (tmp_path / "r.yaml").write_text(f"output_dir: {word}\ntext_column: {word}\n")
        recipe = Recipe.load(tmp_path / "r.yaml", model="m")
        assert (recipe.output_dir, recipe.text_column) == (word, word)
        recipe.save(tmp_path / "again.yaml")
        assert Recipe.load(tmp_path / "again.yaml") == recipe
    (tmp_path / "g.yaml").write_text(f"policy: [{', '.join(words)}]\nmodel: m\ncontexts: on\noutput_dir: o\n")
    options = read_command_line(
        ["--config", str(tmp_path / "g.yaml")],
        command="",
        about="",
        epilog="",
        invocation=generate.Invocation,
        options=generate.GenerateOptions,
    )[1]
    assert (options.policy, options.contexts) == (tuple(words), ("on",))
    (tmp_path / "r.yaml").write_text(
        "mixed_precision: no\npack: yes\nrevision: ~\nseed: 0x1F\ndata_seed: 012\nlearning_rate: 1e-6\n"
    )
    recipe = Recipe.load(tmp_path / "r.yaml", model="m")
    assert (recipe.mixed_precision, recipe.pack, recipe.revision, recipe.seed) == ("no", True, None, 31)
    assert (recipe.data_seed, recipe.learning_rate) == (12, 1e-6)


def test_values_that_no_file_or_path_can_hold(tmp_path):
    (tmp_path / "o.yaml").write_text(
        'model: "a\\0b"\ndataset: "\\ud800"\noutput_dir: [a]\ntokenizer: {a: b}\n3: x\nseed: [1]\n'
    )
    with pytest.raises(OptionsError) as error:
        Recipe.load(tmp_path / "o.yaml")
    assert error.value.problems == [
        "model must not hold a NUL character: 'a\\x00b'",
        "dataset is not valid UTF-8: '\\ud800'",
        "output_dir: expected one text, not ['a']",
        "tokenizer: expected one text, not {'a': 'b'}",
        "unknown key 3",
        "seed: expected a number, not [1]",
    ]


def test_every_kind_of_problem_is_said_at_once():
    words = ["--size", "9", "--share", "1", "--color", "pink", "--nams", "x", "--names", "1"]
    with pytest.raises(OptionsError) as error:
        read(*words)
    assert error.value.problems == [
        "unknown flag --nams, did you mean '--names'?",
        "size must be at most 8, not 9: halve it",
        "share must be below 1, not 1.0",
        "color must be red, green or blue, not 'pink'",
        "no where: give --where",
    ]
    with pytest.raises(OptionsError, match="names are as many as size"):
        read("--where", "here", "--names", "1")
    with pytest.raises(OptionsError, match=r"more: expected a list, not 3"):
        Sample.load(where="here", more=3)
    assert Sample.load(where="here", more="a").more == ("a",)  # as YAML spells a list of one


def test_argparses_own_errors_are_ours(capsys):
    assert generate.main(["--model"]) == 2
    assert capsys.readouterr().err == "error: argument --model: expected one argument\n"


SPELLINGS = {"--output": "--output_dir", "--model-scores": "--model_scores", "--metric": "--metrics"}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_flag_has_one_name(spelling, capsys):
    assert score.main(["texts.jsonl", spelling, "--output_dir", "x"]) == 2
    assert f"unknown flag {spelling}, did you mean '{SPELLINGS[spelling]}'?" in capsys.readouterr().err


def test_generate_and_score_say_all_problems(capsys):
    assert generate.main(["--batch_size", "0", "--num_contexts", "many", "--dtype", "fp8", "--contxts", "a"]) == 2
    shown = capsys.readouterr().err
    for part in (
        "batch_size must be at least 1, not 0",
        "num_contexts: expected a number, not 'many'",
        "dtype must be auto, float32 or bfloat16, not 'fp8'",
        "unknown flag --contxts, did you mean '--contexts'?",
        "no model: give --model",
        "no contexts: give --contexts",
        "no output_dir: give --output_dir",
    ):
        assert part in shown
    assert shown.count("error: ") == 1
    assert score.main(["--per_device_eval_batch_size", "0", "--output_dir", "x"]) == 2
    assert "per_device_eval_batch_size must be at least 1, not 0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mistake_is_said_once_and_not_by_every_process():
    command = [*LAUNCH, "--multi_gpu", "--num_processes", 2, "launch/generate.py", "--num_contexts", 0, "--modl", "x"]
    done = run(command, ACCELERATE_USE_CPU="true")
    assert done.returncode != 0
    assert done.stderr.count("did you mean '--model'?") == done.stderr.count("must be at least 1, not 0") == 1


def test_recipes_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("llama3_8b") == Recipe.load("llama3_8b.yaml")
    assert Recipe.load("llama3_8b").model == "meta-llama/Llama-3.1-8B"
    (tmp_path / "llama3_8b").write_text("model: mine\n")  # a path comes before a name
    assert Recipe.load("llama3_8b").model == "mine"
    with pytest.raises(RecipeError, match="file llama_8b does not exist, did you mean 'llama3_8b'"):
        Recipe.load("llama_8b")


def test_help_needs_no_torch():
    code = "import sys; from hyperfitting.commands.main import main\n"
    code += "try: sys.exit(main(sys.argv[1:]))\nfinally: print('torch' in sys.modules)"
    for words in (["--help"], ["fit", "--help"], ["generate", "--help"], ["score", "--help"], ["metrics"], ["configs"]):
        done = run([sys.executable, "-c", code, *words])
        assert done.returncode == 0 and done.stdout.endswith("False\n"), done.stderr


def test_configs_are_listed_and_found_by_name(capsys):
    assert main.main(["configs"]) == 0
    shown = capsys.readouterr().out
    assert "zero3_offload" in shown and "llama3_70b" in shown
    assert main.main(["configs", "zero2"]) == 0
    (path,) = capsys.readouterr().out.splitlines()
    assert yaml.safe_load(open(path))["deepspeed_config"]["zero_stage"] == 2
    assert main.main(["configs", "zero_2"]) == 2
    assert "file zero_2 does not exist, did you mean 'zero2'?" in capsys.readouterr().err


def test_the_console_commands_lists(capsys):
    assert main.main(["metrics"]) == 0
    assert "self_bleu_4" in capsys.readouterr().out
    assert main.main(["policies"]) == 0
    assert "nucleus(p=0.9,temperature=1)" in capsys.readouterr().out
    assert main.main(["polices"]) == 2
    assert "unknown command 'polices', did you mean 'policies'?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_module_under_accelerate_launch_is_read_as_the_script_is(tiny, tmp_path):
    words = ["-m", "hyperfitting.commands.hyperfit", *flags(model=tiny / "fp32", output_dir=tmp_path), "--dry_run"]
    done = run([*LAUNCH, "--config_file", "accelerate_configs/zero2.yaml", "--num_processes", 1, *words])
    assert done.returncode == 0, done.stderr
    config = REPOSITORY / "accelerate_configs" / "zero2.yaml"
    assert done.stdout.count("layout: zero2 on 1 process(es)") == 1 and f"({config})" in done.stdout
