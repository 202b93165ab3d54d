"""What people give as --model by mistake: one message that names it, from fit, generate and score alike."""

import json
import shutil

import pytest
from conftest import flags

from hyperfitting import UserError
from hyperfitting.codec import load_codec
from hyperfitting.commands import generate, hyperfit
from hyperfitting.model_folder import check_model_folder, check_not_quantised
from hyperfitting.models import load_config, load_for_inference, load_for_training

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 123456\n"
CONFIG = '{"model_type": "llama"}'
ADAPTER = '{"peft_type": "LORA", "base_model_name_or_path": "meta/base"}'
# Files of a folder, and what is said of it; None: a folder.
FOLDERS = {
    "weights by Git LFS": (
        {"config.json": CONFIG, "model.safetensors": POINTER},
        "model.safetensors is only a pointer to the real file; run `git lfs install`",
    ),
    "shards by Git LFS": (
        {"config.json": CONFIG, "model-1.safetensors": POINTER, "model-2.safetensors": POINTER},
        "model-1.safetensors, model-2.safetensors are only pointers",
    ),
    "an adapter": (
        {"adapter_config.json": ADAPTER, "adapter_model.safetensors": ""},
        r"is an adapter alone, of the base model meta/base: merge it first",
    ),
    "an adapter whose base is gone": (
        {"adapter_config.json": '{"base_model_name_or_path": "/gone/base"}'},
        r"base model /gone/base \(which does not exist here\): merge",
    ),
    "an adapter without a base": ({"adapter_config.json": "{}"}, "does not say what it was made for"),
    "an adapter's weights alone": (
        {"adapter_model.safetensors": "", "tokenizer.json": ""},
        "without its adapter_config",
    ),
    "a Trainer's adapters": (
        {"checkpoint-9/adapter_config.json": "{}", "checkpoint-10/adapter_config.json": ADAPTER, "README.md": ""},
        "in checkpoint-10 an adapter alone, of the base model meta/base: merge",
    ),
    "an adapter in a model": (
        {"config.json": CONFIG, "model.safetensors": "", "adapter_config.json": ADAPTER},
        "holds an adapter .* beside a whole model.*merge it first.*or remove the adapter's files",
    ),
    "GGUF": ({"model-Q4_K_M.gguf": ""}, "holds GGUF files.*original safetensors weights"),
    "GGUF with a config": ({"config.json": CONFIG, "model.GGUF": ""}, "holds GGUF weights"),
    "a run": ({"recipe.yaml": "", "corpus": None, "final": None}, "is the folder of a run: give its model, .*/final"),
    "a run without an end": ({"recipe.yaml": "", "corpus": None}, "has no final/ yet: end it with --resume auto"),
    "a checkpoint": ({"COMPLETED": "{}", "progress.json": "{}"}, "is a checkpoint to resume a run from"),
    "checkpoints": ({"step_0000004/progress.json": "{}"}, "holds checkpoints .*: give that run's model, .*/final"),
    "a Trainer's folder with a config": (
        {"config.json": CONFIG, "checkpoint-7/config.json": CONFIG, "checkpoint-7/model.safetensors": ""},
        "no weights of its own: give a folder in it that has, such as .*/checkpoint-7",
    ),
    "a Trainer's folder": (
        {"checkpoint-500/config.json": "{}", "checkpoint-1000/config.json": "{}", "tokenizer.json": ""},
        r"output folder of a Trainer: give a folder in it that has one, such as .*/checkpoint-1000 \(there are 2",
    ),
    "a folder around the model": (
        {"weights/config.json": "{}"},
        "give a folder in it that has one, such as .*/weights",
    ),
    "generations": ({"manifest.json": '{"model": "runs/x/final"}'}, "the model that made them, runs/x/final"),
    "diffusers": ({"model_index.json": "{}", "unet/config.json": "{}"}, "is a diffusers pipeline"),
    "sentence-transformers": (
        {"modules.json": "[]", "0_Transformer/config.json": "{}"},
        "sentence-transformers model, which embeds texts",
    ),
    "nothing": ({}, "is an empty folder"),
    "only hidden files": ({".DS_Store": "", "._config.json": ""}, "is an empty folder"),
    "a tokenizer": ({"tokenizer.json": "", "tokenizer_config.json": ""}, "holds a tokenizer and no model"),
    "macOS's doubles of the weights": ({"config.json": CONFIG, "._model.safetensors": ""}, "which macOS made beside"),
    "DeepSpeed's shards": ({"config.json": CONFIG, "zero_to_fp32.py": "", "global_step9": None}, "zero_to_fp32.py"),
    "a config": ({"config.json": CONFIG}, r"has a config.json and no weights \(it holds config.json\)"),
    "weights of Keras": ({"config.json": CONFIG, "tf_model.h5": ""}, "tf_model.h5 and no weights of PyTorch"),
    "MLX": (
        {"config.json": '{"quantization": {"bits": 4}}', "model.safetensors": ""},
        "MLX quantised: give the folder of the original",
    ),
    "Meta's own format": ({"params.json": "{}", "consolidated.00.pth": ""}, "has no config.json, so it is no model of"),
}


@pytest.fixture
def folder(tmp_path):
    def make(files):
        for name, text in {"model": None, **{f"model/{name}": text for name, text in files.items()}}.items():
            path = tmp_path / name
            if text is None:
                path.mkdir()
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
        return str(tmp_path / "model")

    return make


@pytest.mark.parametrize("kind", FOLDERS)
def test_what_is_no_model_is_named(kind, folder):
    files, message = FOLDERS[kind]
    name = folder(files)
    for load in (lambda: load_config(name), lambda: load_for_inference(name, "float32")):
        with pytest.raises(UserError, match=f"--model {name} .*{message}"):
            load()


@pytest.mark.parametrize("name", ["model.gguf", "model.safetensors", "model.tar.gz"])
def test_a_file_is_no_folder(name, tiny, tmp_path):
    shutil.copytree(tiny / "fp32", tmp_path / "m")
    (tmp_path / "m" / name).touch()
    with pytest.raises(UserError, match="GGUF file|is an archive|is a file: give the folder that holds it, .*/m, with"):
        check_model_folder(str(tmp_path / "m" / name), "--model")


def test_what_stands_beside_a_whole_model_is_no_matter(tiny, tmp_path):
    shutil.copytree(tiny / "fp32", tmp_path / "m")
    for name in ("._model.safetensors", ".DS_Store", "model.gguf", "model.onnx", "README.md"):
        (tmp_path / "m" / name).write_bytes(b"\x00\x05\x16\x07")
    load_codec(str(tmp_path / "m"))
    load_for_inference(str(tmp_path / "m"), "float32")


def test_a_missing_tokenizer_is_named(tiny, folder, tmp_path):
    name = folder({"config.json": CONFIG, "model.safetensors": ""})
    with pytest.raises(
        UserError, match=f"--model {name} holds no tokenizer, such as tokenizer.json: give one with --tok"
    ):
        load_codec(name)
    (tmp_path / "model" / "tokenizer.json").write_text(POINTER)
    with pytest.raises(UserError, match="--tokenizer .* tokenizer.json is only a pointer"):
        load_codec(str(tiny / "fp32"), name)


@pytest.mark.parametrize("settings", [{"quant_method": "awq"}, {"load_in_4bit": True}], ids=["awq", "bitsandbytes"])
def test_quantised_weights_are_not_trained(settings, tiny, tmp_path):
    shutil.copytree(tiny / "fp32", tmp_path / "m")
    facts = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**facts, "quantization_config": settings}))
    config = load_config(str(tmp_path / "m"))
    with pytest.raises(
        UserError, match=r"are quantised \((awq|bitsandbytes)\), and all parameters are trained, in fp32"
    ):
        load_for_training(str(tmp_path / "m"), config)
    check_not_quantised(load_config(str(tiny / "fp32")), "tiny")


def test_commands_say_so_before_they_work(folder, tiny, tmp_path, capsys):
    name = folder({"recipe.yaml": "", "corpus": None, "final": None})
    fit = flags(model=name, dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    made = ["--model", name, "--contexts", str(tiny / "stories.jsonl"), "--output_dir", str(tmp_path / "g")]
    for command, words in ((hyperfit, fit), (hyperfit, [*fit, "--dry_run"]), (generate, made)):
        assert command.main(words) == 2
        assert f"is the folder of a run: give its model, {name}/final" in capsys.readouterr().err
    assert not (tmp_path / "run" / "corpus").exists()
    assert hyperfit.main([*fit, "--local_rank=0"]) == 2
    assert "--local_rank comes from a launcher" in capsys.readouterr().err


def test_what_is_damaged_is_not_said_to_be_no_folder(tiny, tmp_path):
    shutil.copytree(tiny / "fp32", tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError) as damaged:
        load_for_inference(str(tmp_path / "m"), "float32")
    assert "a file in it is damaged" in str(damaged.value) and "convert" not in str(damaged.value)
    for name in (str(tmp_path / "gone"), "./gone", "runs/x/final"):
        with pytest.raises(UserError, match="^--model .* cannot be loaded: there is no such folder$"):
            load_config(name)
        with pytest.raises(UserError, match="^--tokenizer .* cannot be loaded: there is no such folder$"):
            load_codec(str(tiny / "fp32"), name)
