import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from hyperfitting.commands.hyperfit import main  # noqa: E402

REPOSITORY = Path(__file__).parent.parent
LONGEST = "test_strategies.py"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]


def pytest_collection_modifyitems(config, items):
    """Leave the browser tests out where there is no browser, those of GPUs where there is none, and the long ones unless -m
    names them; pytest counts them as deselected."""
    import torch  # here: pytest's own process, which only hands the tests out, never comes here

    unwanted = [] if shutil.which("chromium") and shutil.which("chromedriver") else ["browser"]
    unwanted += [] if torch.cuda.is_available() else ["cuda"]
    unwanted += [marker for marker in ("faults", "families") if marker not in config.getoption("-m")]
    left_out = [item for item in items if any(map(item.get_closest_marker, unwanted))]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: item.path.name != LONGEST)  # or one of the two processes would wait for it in the end


@pytest.fixture(scope="module", autouse=True)
def freeze_libraries():
    """Imports make a million objects that stay: without this each run, which looks for garbage twice, takes half as long again."""
    gc.freeze()


def run(command, timeout=300, **environment):
    """Run a command in the repository and return it finished; stdout and stderr are text. A variable of None is left out."""
    environment = {**os.environ, **environment}
    return subprocess.run(
        [str(word) for word in command],
        cwd=REPOSITORY,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def read_losses(run_dir) -> list[float]:
    """The loss of every step of a run, in order."""
    records = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with tiny Llama models (fp32/, bf16/, tied embeddings, own tokenizer) and stories.jsonl."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = "the a small old red boat dog girl king tree ran slept found lost sang over under with near and then soon".split()
    generator = torch.Generator().manual_seed(1)
    with open(folder / "stories.jsonl", "w") as lines:
        for index in range(60):
            picks = torch.randint(0, len(words), (90,), generator=generator).tolist()
            text = f"Story {index}. " + " ".join(words[pick] for pick in picks)
            lines.write(json.dumps({"text": text}) + "\n")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([" ".join(words)] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        model.to(dtype).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def make_tower(tiny) -> Path:
    """The folder of a model of text and images, which is used for text alone: `tower` beside the tiny models."""
    import torch
    from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

    sizes = dict(hidden_size=32, intermediate_size=48, num_attention_heads=2)
    text = dict(num_hidden_layers=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=128, sliding_window=16)
    ids = dict(image_token_index=319, boi_token_index=318, eoi_token_index=317, mm_tokens_per_image=4)
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config=dict(vocab_size=320, bos_token_id=0, eos_token_id=0, pad_token_id=None, **sizes, **text),
        vision_config=dict(num_hidden_layers=1, image_size=28, patch_size=14, **sizes),
        **ids,
    )
    if not (tiny / "tower").exists():
        Gemma3ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(tiny / "tower")
    AutoTokenizer.from_pretrained(tiny / "fp32").save_pretrained(tiny / "tower")
    return tiny / "tower"


TINY_RECIPE = {
    "seq_len": 64,
    "num_train": 32,
    "num_validation": 5,
    "epochs": 6,
    "learning_rate": 1e-3,
    "global_batch_size": 8,
    "probe_contexts": 3,
    "probe_context_len": 8,
    "probe_max_length": 112,
    "eval_steps": 1000,
    "save_steps": 10,
    "keep_checkpoints": 3,
}


def flags(**values) -> list[str]:
    """Command-line flags of TINY_RECIPE with `values` over it; True is a bare flag."""
    return [
        word
        for key, value in {**TINY_RECIPE, **values}.items()
        for word in ([f"--{key}"] if value is True else [f"--{key}", str(value)])
    ]


@pytest.fixture(scope="session")
def reference(tiny, tmp_path_factory):
    """A run of the tiny recipe in one process: the losses that every other strategy must reproduce."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    assert main(flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder)) == 0
    return folder


@pytest.fixture(scope="session")
def strategy_facts(tiny, tmp_path_factory):
    """name of an accelerate config -> (facts, folder) of one launch of strategy_worker.py with it, made when first asked."""

    @functools.cache
    def launch(name):
        if not (tiny / "tower").exists():
            make_tower(tiny)
        folder = tmp_path_factory.mktemp(name)
        config = ["--config_file", f"accelerate_configs/{name}.yaml", "--num_processes", 2]
        done = run([*LAUNCH, *config, "tests/strategy_worker.py", tiny, folder], OMP_NUM_THREADS=None)
        assert (folder / "facts.json").exists(), done.stdout + done.stderr
        return json.loads((folder / "facts.json").read_text()), folder

    return launch
