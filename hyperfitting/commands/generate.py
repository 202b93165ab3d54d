"""The command line of launch/generate.py."""

import argparse
from pathlib import Path

from ..errors import UserError
from .reporting import run_reporting_errors

DESCRIPTION = "Continue contexts with a model, in bulk, under decoding policies."
EPILOG = """policies: greedy, nucleus(p=0.9,temperature=1), paper_top_p(p=0.9,temperature=0.7,top_k=50), min_p(min_p=0.1,temperature=1),
  temperature(temperature=1), repetition_penalty(penalty=1.2); each with +citation_blocker.

example:
  accelerate launch launch/generate.py --model runs/x/final --contexts wiki=wiki.jsonl --contexts news=news.jsonl \\
      --policy greedy --policy "nucleus(p=0.95)" --policy greedy+citation_blocker --train_rows runs/x \\
      --output_dir generations/x
"""


def build_parser() -> argparse.ArgumentParser:
    """Flags named as the arguments of GenerationRunner and load_contexts."""
    parser = argparse.ArgumentParser(
        prog="generate.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="Hub id or local folder of a causal LM")
    add("--tokenizer", help="Hub id or local folder; default: the model's")
    add(
        "--contexts",
        action="append",
        required=True,
        metavar="[NAME=]WHERE",
        help="Hub dataset, local file or folder, or the folder of a run (its validation rows); repeatable",
    )
    add("--num_contexts", type=int, default=300, help="contexts in all, an equal share from each source [300]")
    add("--context_len", type=int, default=32, help="tokens of context [32]")
    add("--max_length", type=int, default=256, help="tokens of context and continuation [256]")
    add("--text_column", default="text", help="column that holds the text [text]")
    add("--dataset_config", help="configuration of a Hub dataset")
    add("--dataset_split", default="train", help="split of a Hub dataset [train]")
    add("--data_seed", type=int, default=0, help="seed that chooses the contexts [0]")
    add("--policy", action="append", metavar="POLICY", help="decoding policy, repeatable [greedy]")
    add("--train_rows", metavar="RUN|DATASET", help="rows that the citation blocker knows")
    add("--blocker_n", type=int, default=5, help="length of the blocker's n-grams [5]")
    add("--output_dir", required=True, help="folder of the records; a run that was stopped goes on there")
    add("--ban_eos", action="store_true", help="never choose the end of sequence: every text has the full length")
    add("--seed", type=int, default=0, help="seed of the sampling noise [0]")
    add("--batch_size", type=int, help="contexts decoded together; default: what fits, probed once")
    add("--dtype", default="auto", help="auto, float32 or bfloat16 [auto: the checkpoint's on a GPU, float32 on a CPU]")
    add("--gpus_per_model", type=int, default=1, help="GPUs that one process spreads the model over [1]")
    add("--trust_remote_code", action="store_true", help="run modelling code that comes with the checkpoint")
    add("--parquet", action="store_true", help="also write generations.parquet")
    add("--export_contexts", metavar="FILE", help="write the contexts for another engine, and stop")
    add("--import_records", metavar="FILE", help="adopt what another engine made of them, instead of generating")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run launch/generate.py; returns the exit code: 0, 1 for a run that failed, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    args = build_parser().parse_args(arguments)
    for name, least in (
        ("num_contexts", 1),
        ("context_len", 1),
        ("blocker_n", 1),
        ("batch_size", 1),
        ("gpus_per_model", 1),
    ):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
    from ..terminal import quiet_libraries

    quiet_libraries()
    from ..generation.contexts import load_contexts
    from ..generation.exchange import export_contexts
    from ..generation.runner import GenerationRunner

    runner = GenerationRunner(
        args.model,
        args.policy or ["greedy"],
        output_dir=args.output_dir,
        tokenizer=args.tokenizer,
        train_rows=args.train_rows,
        blocker_n=args.blocker_n,
        max_length=args.max_length,
        ban_eos=args.ban_eos,
        seed=args.seed,
        batch_size=args.batch_size,
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
        gpus_per_model=args.gpus_per_model,
        dataset_options={"column": args.text_column, "config": args.dataset_config, "split": args.dataset_split},
    )
    contexts = load_contexts(
        args.contexts,
        runner.codec,
        args.num_contexts,
        args.context_len,
        args.max_length,
        text_column=args.text_column,
        dataset_config=args.dataset_config,
        dataset_split=args.dataset_split,
        seed=args.data_seed,
    )
    if args.export_contexts:
        export_contexts(Path(args.export_contexts), contexts, args.max_length)
        return
    if args.import_records:
        runner.adopt(Path(args.import_records), contexts)
    else:
        runner.run(contexts)
    runner.finish(parquet=args.parquet)
