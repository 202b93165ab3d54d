"""The generation runner: many contexts, several policies, any number of processes, the same bytes.

The unit of work, of output and of resume is a batch of fixed content: contexts sorted by length and id, cut into batches
of one size, the last filled with dummies. A finished batch is one file, renamed into place; a restart lists the files.
Process r takes every batch k with k % processes == r; processes never talk to each other.
"""

import io
import math
import os
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..codec import as_codec, load_codec
from ..codec.words import SPACELESS, has_spaceless_script
from ..corpus import check_made_with, load_training_rows
from ..errors import TrainingError, UserError
from ..files import lock_folder, read_jsonl, write_atomically
from ..hardware import describe_cores
from ..models import (
    check_causal,
    check_vocabulary,
    check_window,
    end_ids,
    load_config,
    load_for_inference,
    model_fingerprint,
    stored_fingerprint,
)
from ..options import Options
from ..processes import is_main_process, rank, world_size
from ..records import GenerationRecord
from ..terminal import Progress, make_console
from .citation_blocker import CitationBlocker
from .contexts import Context, contexts_fingerprint
from .decoding import cut_at_end, decode
from .engines import make_decoder, slowness
from .exchange import import_continuations
from .folder import GenerationFolder
from .policies import Policy
from .processors import Suppress, TopP

CPU_BATCH = 64


class GenerationRunner:
    """Continue contexts under one or more policies.

    Args:
        model: Hub id, local folder, or a loaded causal LM.
        policies: signatures, see `policies.Policy.parse`.
        output_dir: folder of the records; one writer at a time.
        tokenizer: Hub id, folder, loaded tokenizer or codec. Default: the model's.
        revision: branch, tag or commit of a Hub model.
        train_rows: folder of a run, or a dataset, whose rows the citation blocker knows.
        max_length: tokens of context and continuation. Default: the codec's, of text 256.
        ban_eos: never choose the end of sequence, so that every text has the full length.
        batch_size: contexts decoded together. Default: what fits, probed once and kept in the manifest.
        dataset_options: column, config and split of `train_rows`, when it is a dataset.
        dtype: float32, bfloat16 or auto: the checkpoint's own on a GPU, float32 on a CPU.
        options: what a command was told, kept as options.yaml.

    Raises:
        UserError: for everything that the user can mend; nothing is overwritten.

    Example:
        >>> records = GenerationRunner("runs/x/final", ["greedy"], output_dir="generations/x").run(contexts)
    """

    def __init__(
        self,
        model,
        policies: Sequence[str] | str,
        *,
        output_dir: str | Path,
        tokenizer=None,
        revision: str | None = None,
        train_rows: str | Path | None = None,
        blocker_n: int = 5,
        max_length: int | None = None,
        ban_eos: bool = False,
        seed: int = 0,
        batch_size: int | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        gpus_per_model: int = 1,
        dataset_options: dict | None = None,
        options: Options | None = None,
    ):
        policies = [policies] if isinstance(policies, str) else list(policies)
        self.policies = [Policy.parse(policy) for policy in policies]
        if len(set(self.policies)) < len(self.policies):
            raise UserError("a policy is given twice")
        self.folder = GenerationFolder(output_dir)
        self.seed, self.batch_size = seed, batch_size
        self.blocker_n, self.train_rows, self.ban_eos = blocker_n, train_rows, ban_eos
        self.dataset_options, self.options = dataset_options or {}, options
        self.blocker_facts: dict | None = None
        if any(policy.blocked for policy in self.policies) and train_rows is None:
            raise UserError("citation_blocker needs the training rows: give --train_rows the folder of the run")
        self.given = not isinstance(model, str | Path)
        self.model_name = (model.config._name_or_path or type(model).__name__) if self.given else str(model)
        self.revision, source = revision, dict(revision=revision, trust_remote_code=trust_remote_code)
        if tokenizer is None or isinstance(tokenizer, str | Path):
            self.codec = load_codec(self.model_name, tokenizer and str(tokenizer), **source)
        else:
            self.codec = as_codec(tokenizer)
        self.max_length = self.codec.max_length if max_length is None else max_length
        config = model.config if self.given else load_config(self.model_name, **source)
        message = f"max_length {self.max_length} is beyond the model's window of {{window}} tokens: lower --max_length"
        check_window(config, self.max_length, message)
        self.model = (
            model.eval()
            if self.given
            else load_for_inference(self.model_name, dtype, gpus_per_model=gpus_per_model, **source)
        )
        check_causal(self.model, self.model_name)
        self.ends = end_ids(self.model, self.codec)
        self.decoder = make_decoder(self.model, self.max_length)
        self.blocker = self.blocker_facts = None
        self.engine = type(self.decoder).__name__

    def run(self, contexts: Sequence[Context]) -> list[dict]:
        """Generate what is missing in `output_dir` and return all records, in the order of generations.jsonl.

        With several processes the main one waits for the others' batches and writes generations.jsonl; the others return
        the records of their own batches.
        """
        self._check_contexts(contexts)
        self._prepare_blocker()
        with lock_folder(self.folder.path, "output_dir") if is_main_process() else open(os.devnull):
            self._agree_on_manifest(contexts, lambda: self._choose_batch_size(contexts))
            self.folder.keep_options(self.options)
            batches = make_batches(contexts, self.batch_size)
            units = [(policy, index, batch) for policy in self.policies for index, batch in enumerate(batches)]
            share = units[rank() :: world_size()]
            found = {unit[:2]: self._read(unit) for unit in share}
            missing = [unit for unit in share if found[unit[:2]] is None]
            damaged = [file for unit in missing if (file := self.folder.batch_file(*unit[:2])).exists()]
            for file in damaged:
                warnings.warn(f"{file} does not hold the records of its contexts: they are made again", stacklevel=2)
            self._generate(missing)
            if not is_main_process():
                return [record for unit in share for record in self._read(unit)]
            found = dict.fromkeys(unit[:2] for unit in units)
            while waiting := [unit for unit in units if found[unit[:2]] is None]:
                found |= {unit[:2]: self._read(unit) for unit in waiting}
                time.sleep(0.2 if None in found.values() else 0)  # a process that dies takes this one with it
            place = {context.id: i for i, context in enumerate(contexts)}
            records = []
            for policy in self.policies:
                mine = [record for index in range(len(batches)) for record in found[policy, index]]
                records += sorted(mine, key=lambda record: place[record["id"]])
            self.folder.write_records(records)
            return records

    def adopt(self, path: Path, contexts: Sequence[Context]) -> list[dict]:
        """Write the records of another engine, which continued `contexts` under this runner's one policy.

        Raises:
            UserError: when the file does not hold exactly one sound continuation for each context, or the folder holds the
                records of another file.
        """
        self._check_contexts(contexts)
        if len(self.policies) != 1 or self.policies[0].blocked:
            raise UserError("records of another engine have one policy and no citation blocker: name it with --policy")
        size = self.model.config.get_text_config().vocab_size
        found = import_continuations(path, list(contexts), self.max_length, size, self.ends)
        self.engine, self.batch_size = f"imported from {path.name}", None  # nothing is decoded, in no batches
        with lock_folder(self.folder.path, "output_dir"):
            self._agree_on_manifest(contexts, lambda: len(contexts))
            self.folder.keep_options(self.options)
            records = [self._record(context, self.policies[0], *found[context.id]) for context in contexts]
            if self.folder.records.exists() and read_jsonl(self.folder.records) != records:
                raise UserError(
                    f"{self.folder.path} holds other records than {path} gives: import it into another --output_dir"
                )
            self.folder.write_records(records)
        return records

    def finish(self, parquet: bool = False) -> None:
        """Say where the records are, on the main process; also write generations.parquet when asked."""
        if not is_main_process():
            return
        path = self.folder.records
        if parquet:
            import datasets

            table = io.BytesIO()
            datasets.Dataset.from_list(read_jsonl(path)).to_parquet(table)
            write_atomically(path.with_suffix(".parquet"), table.getvalue())
        make_console().print(f"records in {path}")

    def _check_contexts(self, contexts: Sequence[Context]) -> None:
        if not contexts:
            raise UserError("there are no contexts")
        longest = max(len(context.ids) for context in contexts)
        if longest >= self.max_length:
            raise UserError(f"a context has {longest} tokens: max_length {self.max_length} must be above it")
        check_vocabulary(self.model.config, max(max(c.ids) for c in contexts), "the contexts")
        if len({context.id for context in contexts}) < len(contexts):
            raise UserError("two contexts have the same id")

    def _prepare_blocker(self) -> None:
        if any(policy.blocked for policy in self.policies):
            train = load_training_rows(str(self.train_rows), self.codec, **self.dataset_options)
            check_made_with(train.tokenizer_fingerprint, self.codec, f"the training rows of {self.train_rows}")
            ids = sorted({i for row in train.rows for i in row})
            check_vocabulary(self.model.config, ids[-1] if ids else 0, f"the training rows of {self.train_rows}")
            starts = self.codec.word_starts()
            if starts is None:
                raise UserError(
                    "citation_blocker cuts a citation at the next word, and what this model makes has no words: leave "
                    "+citation_blocker out"
                )
            self.blocker = CitationBlocker(train.rows, starts, self.blocker_n, self.decoder.device)
            self.blocker_facts = {"n": self.blocker_n, "rows_fingerprint": train.fingerprint}
            alone = (self.codec.decode([i]) for i in ids if i < len(starts) and starts[i])
            if any(text.startswith("\ufffd") or has_spaceless_script(text) for text in alone):
                self.blocker_facts["word"] = SPACELESS

    def _agree_on_manifest(self, contexts: Sequence[Context], batch_size: Callable[[], int]) -> None:
        def fingerprint() -> str:
            return model_fingerprint(self.model) if self.given else stored_fingerprint(self.model_name, self.revision)

        found = self.folder.agree(self._manifest(contexts), fingerprint, batch_size)
        self.made_by = {"model_fingerprint": found["model_fingerprint"], "seed": self.seed}
        asked, self.batch_size = self.batch_size, found["batch_size"]
        if asked is not None and min(asked, len(contexts)) != min(self.batch_size, len(contexts)):
            raise UserError(
                f"{self.folder.path} holds other generations (batch_size was {self.batch_size} and is now {asked}): set another "
                "--output_dir"
            )

    def _read(self, unit: tuple[Policy, int, list[Context]]) -> list[dict] | None:
        """The records of a finished batch; None when it is to be made."""
        policy, index, batch = unit
        return self.folder.read_batch(policy, index, batch, self.made_by)

    def _manifest(self, contexts: Sequence[Context]) -> dict:
        from .. import __version__

        return {
            "hyperfitting": __version__,
            "model": self.model_name,
            **({"revision": self.revision} if self.revision else {}),
            "seed": self.seed,
            "tokenizer_fingerprint": self.codec.fingerprint,
            **self.codec.facts(),
            "policies": [policy.signature for policy in self.policies],
            "citation_blocker": self.blocker_facts,
            "end_of_sequence": "banned" if self.ban_eos else sorted(self.ends),
            "max_length": self.max_length,
            "num_contexts": len(contexts),
            "contexts_fingerprint": contexts_fingerprint(list(contexts)),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "engine": self.engine,
        }

    def _choose_batch_size(self, contexts: Sequence[Context]) -> int:
        """What was asked for, or else the largest power of two, at most 512, whose cache and prefill fit the GPU; on a CPU, and
        where there is no cache, equal batches of at most CPU_BATCH, because dummies that fill a last one cost as much as contexts."""
        if self.batch_size is not None:
            return min(self.batch_size, len(contexts))
        if self.decoder.device.type == "cpu" or slowness(self.decoder):
            return math.ceil(len(contexts) / math.ceil(len(contexts) / CPU_BATCH))
        size = min(512, 1 << (len(contexts) - 1).bit_length())
        longest = max((context.ids for context in contexts), key=len)
        heaviest = [TopP(0.9)]  # it sorts the vocabulary
        while self._fitting(torch.tensor([longest] * size), heaviest) is None:
            if size == 1:
                raise UserError("not one context fits the GPU: use --gpus_per_model or a smaller --max_length")
            size //= 2
        return min(size, len(contexts))

    def _fitting(
        self, contexts: torch.Tensor, chain: list, advance: Callable[[int], None] = lambda count: None
    ) -> list[list[int]] | None:
        """The ids of a decoded batch, or None when it does not fit; what the failed try held is free again."""
        try:
            return decode(self.decoder, contexts, self.max_length, chain, self.ends, advance).tolist()
        except TrainingError as error:
            raise TrainingError(f"{self.model_name}: {error}") from None
        except torch.OutOfMemoryError:
            pass  # its traceback keeps the tensors of the failed frames alive until this handler is left
        torch.cuda.empty_cache()
        return None

    def _generate(self, units: list) -> None:
        """Decode and write batches, saying how fast and how long it will take."""
        console = make_console(quiet=not is_main_process())
        if units and (message := slowness(self.decoder)):
            console.print(message)
        started, tokens = time.perf_counter(), 0
        with Progress(console) as progress, progress.task("generating", len(units), "batch") as task:
            for done, (policy, index, batch) in enumerate(units, start=1):
                begun, positions = time.perf_counter(), self.max_length - len(batch[0].ids)
                task.note = policy.signature
                records = self._decode(policy, batch, lambda count, n=positions: task.advance(1 / n, tokens=count))
                self.folder.write_batch(policy, index, records)
                made = sum(len(record["continuation_ids"]) for record in records)
                tokens += made
                seconds = time.perf_counter() - begun
                self.folder.log(batch=f"{policy.folder_name}/{index:05d}", tokens=made, seconds=seconds)
                task.update(done, policy.signature)
        if units:
            peak = self._peak_memory()
            self.folder.log(tokens=tokens, seconds=time.perf_counter() - started, peak_memory_bytes=peak)
            console.print(
                f"{len(units)} batches, {tokens:,} tokens, {tokens / (time.perf_counter() - started):,.0f} tokens/s, "
                f"peak memory {peak / 2**30:.2f} GiB in this process"
                + (f", {describe_cores()}" if self.decoder.device.type == "cpu" else "")
            )

    def _decode(
        self, policy: Policy, batch: list[Context], advance: Callable[[int], None], size: int | None = None
    ) -> list[dict]:
        """The records of one batch, filled with dummies to `size`; halves it and says so when memory runs out."""
        size = size or self.batch_size
        filled = batch + [Context("dummy", "", batch[-1].ids)] * (size - len(batch))
        context_len = len(batch[0].ids)
        names = [context.id for context in filled]
        chain = policy.processors(self.seed, names, context_len, self.decoder.device, self.blocker)
        if self.ban_eos:
            chain.insert(0, Suppress(sorted(self.ends)))
        ids = self._fitting(torch.tensor([c.ids for c in filled]), chain, advance)
        if ids is None:
            if size == 1:
                raise TrainingError("one context does not fit the GPU: use --gpus_per_model, or free the GPU's memory")
            half = (size + 1) // 2
            self.folder.log(split=f"a batch of {size} did not fit the GPU and was decoded in parts of {half}")
            return [
                r
                for start in range(0, len(batch), half)
                for r in self._decode(policy, batch[start : start + half], advance, half)
            ]
        records = []
        for context, sequence in zip(batch, ids, strict=False):
            continuation, reason = cut_at_end(sequence[context_len:], self.ends)
            records.append(self._record(context, policy, continuation, reason))
        return records

    def _record(self, context: Context, policy: Policy, continuation: list[int], finish_reason: str) -> dict:
        blocked = self.blocker.log(len(context.ids), [*context.ids, *continuation]) if policy.blocked else None
        return GenerationRecord(
            id=context.id,
            source=context.source,
            policy=policy.signature,
            **self.made_by,
            context_ids=list(context.ids),
            continuation_ids=continuation,
            finish_reason=finish_reason,
            reference_ids=list(context.reference),
            blocked=blocked,
            context=self.codec.decode(context.ids),
            continuation=self.codec.decode(continuation),
            reference=self.codec.decode(context.reference),
        ).to_json()

    def _peak_memory(self) -> int:
        if self.decoder.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.decoder.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_batches(contexts: Sequence[Context], size: int) -> list[list[Context]]:
    """Contexts of one length each, sorted by (length, id), at most `size` in a batch: the same for any process."""
    ordered = sorted(contexts, key=lambda context: (len(context.ids), context.id))
    batches: list[list[Context]] = []
    for context in ordered:
        if not batches or len(batches[-1]) == size or len(batches[-1][0].ids) != len(context.ids):
            batches.append([])
        batches[-1].append(context)
    return batches
