"""What a generation needs besides contexts: a model on its device, and the rows that the citation blocker knows."""

import contextlib
import os
from pathlib import Path

import torch
from torch import nn

from ..builtin import resolve
from ..corpus import Corpus, load_documents, tokenizer_fingerprint
from ..errors import UserError


def load_model(name: str, dtype: str, trust_remote_code: bool = False, gpus_per_model: int = 1) -> nn.Module:
    """The model in eval mode on this process's device.

    With `gpus_per_model` above 1 process r spreads the model over GPUs r x gpus_per_model and the following.

    Raises:
        UserError: when it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in ("auto", "float32", "bfloat16"):
        raise UserError(f"dtype must be auto, float32 or bfloat16, not {dtype!r}")
    on_gpu, rank, options = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK", 0)), {}
    kind = dtype if dtype != "auto" else ("auto" if on_gpu else "float32")
    if on_gpu and gpus_per_model > 1:
        group = range(rank * gpus_per_model, (rank + 1) * gpus_per_model)
        options = {"device_map": "auto", "max_memory": {gpu: torch.cuda.mem_get_info(gpu)[0] for gpu in group}}
    elif on_gpu:
        options = {"device_map": f"cuda:{rank}"}
    with _explained(name, "--model"):
        model = AutoModelForCausalLM.from_pretrained(
            resolve(name), dtype=kind, use_safetensors=True, trust_remote_code=trust_remote_code, **options
        )
    return model.eval()


def load_tokenizer(name: str, trust_remote_code: bool = False):
    """The tokenizer of a Hub id or local folder.

    Raises:
        UserError: when it cannot be loaded.
    """
    from transformers import AutoTokenizer

    with _explained(name, "--tokenizer"):
        return AutoTokenizer.from_pretrained(resolve(name), trust_remote_code=trust_remote_code)


@contextlib.contextmanager
def _explained(name: str, flag: str):
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:400]
        raise UserError(f"{name!r} cannot be loaded: give {flag} a local folder or a Hub id ({reason})") from error


def load_training_rows(
    where: str, tokenizer, column: str = "text", config: str | None = None, split: str = "train"
) -> tuple[list, str]:
    """Rows of token ids, and a fingerprint: of a run's folder, or of any dataset, each of whose documents is one row.

    Raises:
        UserError: when a run's rows were made with another tokenizer.
    """
    corpus_dir = Path(where) / "corpus"
    if corpus_dir.is_dir():
        corpus = Corpus.load(corpus_dir)
        if corpus.tokenizer_fingerprint != tokenizer_fingerprint(tokenizer):
            raise UserError(
                f"the training rows of {where} were made with another tokenizer than the model's: their ids mean other "
                "words; give --train_rows the run that the model comes from, or its text as a dataset"
            )
        return corpus.train.tolist(), corpus.fingerprint
    documents = load_documents(where, column, config, split)
    rows = tokenizer(list(documents["text"]), verbose=False)["input_ids"]
    return rows, f"{documents._fingerprint}/{tokenizer_fingerprint(tokenizer)}"
