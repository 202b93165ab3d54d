"""A converted model behind one face: what ids it gives a text, and what it predicts after given ids."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..codec import load_codec
from ..errors import UserError
from ..generation.decoding import decode
from ..generation.engines import make_decoder
from ..models import load_for_inference


class Converted:
    """A model as another program reads it.

    Attributes:
        kind: format and precision, as they are shown.
        start: ids that its tokenizer puts before a text.
    """

    kind: str
    start: list[int]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without a start token."""
        raise NotImplementedError

    def likeliest(self, ids: list[int]) -> np.ndarray:
        """(tokens,) the arg-max of what follows each of `ids`."""
        raise NotImplementedError

    def greedy(self, ids: list[int], count: int) -> list[int]:
        """`count` tokens that continue `ids`, the likeliest each time; the end of a text is a token like others."""
        ids = list(ids)
        for _ in range(count):
            ids.append(int(self.likeliest(ids)[-1]))
        return ids[-count:]


class TransformersModel(Converted):
    """A folder that transformers opens, in the dtype that it is stored in or in fp32."""

    def __init__(self, model, codec, kind: str, longest: int):
        self.model, self.codec, self.kind, self.longest = model, codec, kind, longest
        whole, bare = (codec.encode(["a"], special)[0] for special in (True, False))
        self.start = whole[: len(whole) - len(bare)] if whole[len(whole) - len(bare) :] == bare else whole[:1]

    def encode(self, text: str) -> list[int]:
        return self.codec.encode([text], special=False)[0]

    @torch.no_grad()
    def likeliest(self, ids: list[int]) -> np.ndarray:
        rows = torch.tensor([ids], device=self.model.device)
        return self.model(input_ids=rows, use_cache=False).logits[0].argmax(-1).cpu().numpy()

    def greedy(self, ids: list[int], count: int) -> list[int]:
        continued = decode(self._decoder, torch.tensor([ids]), len(ids) + count, [], ends=[])
        return continued[0, len(ids) :].tolist()

    @cached_property
    def _decoder(self):
        return make_decoder(self.model, self.longest)


class GGUFModel(Converted):
    """A GGUF file, read by llama.cpp."""

    def __init__(self, path: Path, longest: int):
        try:
            import llama_cpp
        except ImportError:
            raise UserError(
                f'{path} is a GGUF file, which llama-cpp-python reads: pip install "hyperfitting[gguf]"'
            ) from None
        try:
            self.model = llama_cpp.Llama(str(path), n_ctx=longest, logits_all=True, verbose=False)
        except Exception as error:  # llama.cpp says why on the standard error alone
            raise UserError(f"llama.cpp cannot read {path} ({error})") from None
        prefix, stored = "LLAMA_FTYPE_", int(self.model.metadata.get("general.file_type", -1))
        names = {getattr(llama_cpp, name): name for name in dir(llama_cpp) if name.startswith(prefix)}
        self.kind = "GGUF " + names.get(stored, "of unknown precision").removeprefix(prefix).removeprefix(
            "MOSTLY_"
        ).removeprefix("ALL_")
        whole, bare = (self.model.tokenize(b"a", add_bos=begins, special=False) for begins in (True, False))
        self.start = whole[: len(whole) - len(bare)]

    def encode(self, text: str) -> list[int]:
        return self.model.tokenize(text.encode(), add_bos=False, special=False)

    def likeliest(self, ids: list[int]) -> np.ndarray:
        self.model.reset()
        self.model.eval(ids)
        return self.model.scores[: len(ids)].argmax(-1)

    def greedy(self, ids: list[int], count: int) -> list[int]:
        self.model.reset()
        self.model.eval(ids)
        made: list[int] = []
        while True:
            made.append(int(self.model.scores[self.model.n_tokens - 1].argmax()))
            if len(made) == count:
                return made
            self.model.eval(made[-1:])


class CTranslate2Model(Converted):
    """A folder that CTranslate2's converter wrote. It holds no tokenizer: programs use that of the model's source, so only
    the names of its ids are compared."""

    def __init__(self, folder: Path, codec):
        try:
            import ctranslate2
        except ImportError:
            raise UserError(
                f'{folder} is a CTranslate2 model: pip install "hyperfitting[ctranslate2]" to read it'
            ) from None
        self.generator = ctranslate2.Generator(str(folder), device="cpu")
        self.kind = f"CTranslate2 {self.generator.compute_type}"
        self.pieces = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.places = {piece: place for place, piece in enumerate(self.pieces)}
        self.codec, self.start = codec, TransformersModel(None, codec, "", 0).start

    def encode(self, text: str) -> list[int]:
        ids = self.codec.encode([text], special=False)[0]
        names = self.codec.tokenizer.convert_ids_to_tokens(ids)
        return [self.places.get(name, -1) for name in names]

    def likeliest(self, ids: list[int]) -> np.ndarray:
        logits = self.generator.forward_batch([[self.pieces[i] for i in ids]], return_log_probs=False)
        return np.asarray(logits)[0].argmax(-1)


def open_converted(path: Path, codec, longest: int) -> Converted:
    """What `path` holds, as its own program reads it.

    Args:
        codec: of the original, for formats that hold no tokenizer.
        longest: the most tokens that it will be given at once.

    Raises:
        UserError: it is none of the formats, or what reads it is not installed.
    """
    if path.is_file() and path.suffix == ".gguf":
        return GGUFModel(path, longest)
    if (path / "model.bin").exists() and (path / "vocabulary.json").exists():
        return CTranslate2Model(path, codec)
    if (path / "config.json").exists():
        model = load_for_inference(str(path), "float32")
        return TransformersModel(model, load_codec(str(path)), f"transformers {model.config.model_type}", longest)
    raise UserError(
        f"{path} is no converted model: give a .gguf file, a folder that CTranslate2's converter wrote, or a transformers folder"
    )
