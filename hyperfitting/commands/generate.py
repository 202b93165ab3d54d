"""`hyperfitting generate` and launch/generate.py."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..options import REQUIRED, Options, option
from ..processes import is_main_process
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

EPILOG = """policies: hyperfitting policies lists them; +citation_blocker can be added to each.

example:
  accelerate launch launch/generate.py --model runs/x/final --contexts wiki=wiki.jsonl --contexts news=news.jsonl \\
      --policy greedy --policy "nucleus(p=0.95)" --policy greedy+citation_blocker --train_rows runs/x \\
      --output_dir generations/x
"""


@dataclass(kw_only=True)
class ModelOptions:
    """What continues the contexts."""

    model: str = option(REQUIRED, "Hub id or local folder of a causal model.", path=True)
    revision: str | None = option(None, "Branch, tag or commit of a Hub model; default: its main branch.")
    tokenizer: str | None = option(None, "Hub id or local folder of the tokenizer; default: the model's.", path=True)
    trust_remote_code: bool = option(False, "Run modelling code that comes with the checkpoint.")
    dtype: str = option(
        "auto",
        "Dtype of the weights; auto: the checkpoint's on a GPU, float32 on a CPU.",
        choices=("auto", "float32", "bfloat16"),
    )
    gpus_per_model: int = option(1, "GPUs that one process spreads the model over.", least=1)


@dataclass(kw_only=True)
class ContextOptions:
    """What is continued."""

    contexts: tuple[str, ...] = option(
        REQUIRED,
        "Hub dataset, local file or folder, or the folder of a run (its validation rows); repeatable.",
        metavar="[NAME=]WHERE",
    )
    num_contexts: int = option(300, "Contexts in all, an equal share from each source (section 3: 300).", least=1)
    context_len: int | None = option(
        None, "Tokens of context; default: 32 of text (section 3), the first quarter of an image.", least=1
    )
    text_column: str = option("text", "Column of the contexts' datasets that holds the text.")
    dataset_config: str | None = option(None, "Configuration of a Hub dataset.")
    dataset_split: str = option("train", "Split of a Hub dataset.")
    data_seed: int = option(0, "Seed that chooses the contexts.", least=0)
    export_contexts: str | None = option(
        None, "Write the contexts for another engine, and stop; needs no weights.", metavar="FILE", path=True
    )


@dataclass(kw_only=True)
class DecodingOptions:
    """How they are continued."""

    policy: tuple[str, ...] = option(
        ("greedy",), "Decoding policy, as `hyperfitting policies` lists them; repeatable.", metavar="POLICY"
    )
    max_length: int | None = option(
        None, "Tokens of context and continuation; default: 256 of text (section 3), a whole image."
    )
    ban_eos: bool = option(False, "Never choose the end of sequence: every text has the full length.")
    seed: int = option(0, "Seed of the sampling noise.", least=-(2**63), greatest=2**63 - 1)
    batch_size: int | None = option(None, "Contexts decoded together; default: what fits, probed once.", least=1)
    train_rows: str | None = option(None, "Rows that the citation blocker knows.", metavar="RUN|DATASET", path=True)
    train_rows_column: str = option("text", "Column of a dataset of train_rows that holds the text.")
    blocker_n: int = option(5, "Length of the blocker's n-grams, tokens (section 5: 5).", least=1, greatest=1024)


@dataclass(kw_only=True)
class RecordOptions:
    """What becomes of the continuations."""

    output_dir: str = option(REQUIRED, "Folder of the records; a run that was stopped goes on there.", path=True)
    import_records: str | None = option(
        None, "Adopt what another engine made of the contexts, instead of generating.", metavar="FILE", path=True
    )
    parquet: bool = option(False, "Also write generations.parquet.")


@dataclass(kw_only=True)
class GenerateOptions(ModelOptions, ContextOptions, DecodingOptions, RecordOptions, Options):
    """All settings of a generation: the keys of options.yaml and the flags of the command line."""


def main(arguments: list[str] | None = None) -> int:
    """Generate; returns the exit code: 0, 1 for a run that failed, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting generate",
        about="Continue contexts with a model, in bulk, under decoding policies.",
        epilog=EPILOG,
        invocation=Invocation,
        options=GenerateOptions,
    )
    from ..terminal import make_console, printable, quiet_libraries

    quiet_libraries()
    from ..codec import load_codec
    from ..generation.contexts import load_contexts
    from ..generation.exchange import export_contexts

    codec = load_codec(options.model, options.tokenizer, options.revision, options.trust_remote_code)
    contexts = load_contexts(
        list(options.contexts),
        codec,
        options.num_contexts,
        options.context_len,
        options.max_length,
        text_column=options.text_column,
        dataset_config=options.dataset_config,
        dataset_split=options.dataset_split,
        seed=options.data_seed,
    )
    if is_main_process():
        for note in codec.notes():
            make_console().print(printable(note))
    if options.export_contexts:
        if is_main_process():
            length = codec.max_length if options.max_length is None else options.max_length
            export_contexts(Path(options.export_contexts), contexts, length)
        return
    from ..generation.runner import GenerationRunner

    runner = GenerationRunner(
        options.model,
        options.policy,
        output_dir=options.output_dir,
        tokenizer=codec,
        revision=options.revision,
        train_rows=options.train_rows,
        blocker_n=options.blocker_n,
        max_length=options.max_length,
        ban_eos=options.ban_eos,
        seed=options.seed,
        batch_size=options.batch_size,
        dtype=options.dtype,
        trust_remote_code=options.trust_remote_code,
        gpus_per_model=options.gpus_per_model,
        dataset_options={
            "column": options.train_rows_column,
            "config": options.dataset_config,
            "split": options.dataset_split,
        },
        options=options,
    )
    if options.import_records:
        runner.adopt(Path(options.import_records), contexts)
    else:
        runner.run(contexts)
    runner.finish(parquet=options.parquet)


if __name__ == "__main__":
    sys.exit(main())
