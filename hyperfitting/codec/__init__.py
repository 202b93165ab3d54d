"""Documents to token ids and back, one file for each kind of data; `base.py` says what is asked of a kind."""

import json
from pathlib import Path

from ..builtin import explained, resolve
from ..errors import UserError
from ..model_folder import check_model_folder, check_no_pointers
from .base import Codec, DocumentError
from .text import TextCodec, word_starts

TOKENIZER_FILES = ("*token*", "vocab*", "*.model", "spiece*", "preprocessor_config.json")

__all__ = ["Codec", "DocumentError", "TextCodec", "as_codec", "load_codec", "word_starts"]


def as_codec(tokenizer) -> Codec:
    """A codec as it is, or one of a transformers tokenizer."""
    return tokenizer if isinstance(tokenizer, Codec) else TextCodec(tokenizer)


def load_codec(
    model: str | None, tokenizer: str | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> Codec:
    """The codec of a model, or of another Hub id or folder: of images where its preprocessor_config.json is ImageGPT's.

    Args:
        revision: of the model's repository; another tokenizer has revisions of its own, which this one does not name.

    Raises:
        UserError: when it cannot be loaded, naming the flag that asked for it.
    """
    from transformers import AutoTokenizer

    name, flag = (tokenizer, "--tokenizer") if tokenizer else (model, "--model")
    where = resolve(name), None if tokenizer else revision
    folder = Path(where[0])
    if folder.is_dir():
        check_no_pointers(folder, name, flag, weights=False)
    try:
        with explained(name, flag):
            if _holds_imagegpt(*where):
                from .images import ImageCodec

                return ImageCodec.load(*where)
            return TextCodec(
                AutoTokenizer.from_pretrained(where[0], revision=where[1], trust_remote_code=trust_remote_code),
                where[1],
            )
    except UserError:
        if folder.exists() and not any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES):
            check_model_folder(name, flag)
            raise UserError(
                f"{flag} {name} holds no tokenizer, such as tokenizer.json: give one with --tokenizer"
            ) from None
        raise


def _holds_imagegpt(name: str, revision: str | None) -> bool:
    """Whether the processor of a folder or Hub model is ImageGPT's; models of text and images have others beside a tokenizer."""
    from transformers.utils import cached_file

    missing_is_no_error = dict.fromkeys(
        (f"_raise_exceptions_for_{what}" for what in ("gated_repo", "missing_entries", "connection_errors")), False
    )
    file = cached_file(name, "preprocessor_config.json", revision=revision, **missing_is_no_error)
    if file is None:
        return False
    facts = json.loads(Path(file).read_text(encoding="utf-8"))
    return "ImageGPT" in str(facts.get("image_processor_type") or facts.get("feature_extractor_type"))
