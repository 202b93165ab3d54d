"""Images: ImageGPT's image processor as a codec."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from ..errors import UserError
from .base import Codec, DocumentError
from .opening import open_picture
from .pixels import PixelFormat

READERS = dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"), "imagefolder")
AT_ONCE = 128  # pixels: their distances from 512 colours stay in a cache, which the image processor's, of whole images, do not
DECIDES = (
    "clusters",
    "size",
    "resample",
    "do_resize",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)


class ImageCodec(Codec):
    """The codec of an ImageGPT image processor: a row is the start token and the colour of each pixel in raster order.

    The start token is what the pre-trained weights expect: upstream trains on the pixels shifted by one behind it, so that it
    stands at the first position and predicts the first pixel (openai/image-gpt, src/model.py; the Hub's checkpoints hold it as
    the last id). A picture of 32 x 32 is a row of 1,025 ids in a window of 1,024, because its last pixel is read by no one.

    A document is a Pillow image, the path of a file, or what `datasets` holds of one undecoded: its `bytes` or its `path`.

    Attributes:
        pixels: how a row is a picture.
        read, changed: documents that were read, and of them how many of each kind were converted.
    """

    readers = {**READERS, ".parquet": "parquet", ".arrow": "arrow"}
    pipeline_tag = "unconditional-image-generation"

    def __init__(self, processor):
        self.processor, (height, width) = processor, (processor.size["height"], processor.size["width"])
        colours = np.rint(127.5 * (np.asarray(processor.clusters) + 1)).astype(np.uint8)
        colours = np.concatenate([colours, np.full((1, 3), 128, dtype=np.uint8)])
        self.pixels = PixelFormat(height, width, colours)
        self.context_len, self.max_length = 1 + height * width // 4, 1 + height * width
        self.read, self.changed = 0, Counter()

    @classmethod
    def load(cls, name: str, revision: str | None = None) -> "ImageCodec":
        """The codec of a Hub model or local folder."""
        from transformers import ImageGPTImageProcessorPil

        return cls(ImageGPTImageProcessorPil.from_pretrained(name, revision=revision))

    def __len__(self) -> int:
        return self.pixels.start + 1

    def encode(self, documents: Sequence, special: bool = True) -> list[list[int]]:
        """Ids of images as the image processor gives them: of 8 bits a channel, turned upright as their EXIF data says, laid on
        white where they are transparent, resized, and each pixel the nearest colour."""
        from transformers.models.imagegpt.image_processing_pil_imagegpt import color_quantize

        if not documents:
            return []
        # One at a time: a photograph takes a hundred times the room of what it becomes.
        sized = [self._resized(place, document) for place, document in enumerate(documents)]
        pixels = np.stack(sized).transpose(0, 2, 3, 1).reshape(-1, 3)
        nearest = [
            color_quantize(pixels[start : start + AT_ONCE], self.processor.clusters)
            for start in range(0, len(pixels), AT_ONCE)
        ]
        rows = np.concatenate(nearest).reshape(len(documents), -1).tolist()
        return [[self.pixels.start] * special + row for row in rows]

    def decode(self, ids: Sequence[int]) -> None:
        return None

    @cached_property
    def fingerprint(self) -> str:
        facts = self.processor.to_dict()
        state = {**{name: facts.get(name) for name in DECIDES}, "start": self.pixels.start}
        return hashlib.sha256(json.dumps(state, sort_keys=True, default=dict).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        self.processor.save_pretrained(folder)

    def column(self, features: Mapping, asked: str, flag: str) -> str:
        """As `Codec.column`; where no column of the name `text`, which is the default of the flags, is there, the only one of
        images."""
        there = [name for name, feature in features.items() if _holds_images(feature)]
        if asked not in there and (asked != "text" or len(there) != 1):
            found = f"several of them ({', '.join(there)})" if len(there) > 1 else f"it has {', '.join(features)}"
            raise UserError(f"has no column {asked!r} of images; {found}: set {flag}")
        return asked if asked in there else there[0]

    def select(self, table, asked: str, flag: str):
        """As `Codec.select`. Images stay undecoded, so that `encode` can say which one is damaged."""
        import datasets

        return super().select(table, asked, flag).cast_column("document", datasets.Image(decode=False))

    def notes(self) -> list[str]:
        changed = ", ".join(f"{count} {what}" for what, count in sorted(self.changed.items()))
        return [f"images that were read: {self.read}; converted: {changed}"] if changed else []

    def draw(self, columns: Mapping[str, Sequence[Sequence[int]]], context_len: int) -> bytes:
        return self.pixels.draw(columns, context_len)

    def facts(self) -> dict:
        return {"pixels": self.pixels.to_json()}

    def _resized(self, place: int, document) -> np.ndarray:
        """A document as (3, height, width) of the processor's size, noted in `changed`."""
        try:
            upright, found = open_picture(document)
            pixels = self.processor([upright], do_convert_rgb=True, do_color_quantize=False)["pixel_values"][0]
        except Exception as error:  # Pillow's readers raise whatever a damaged file makes them raise
            name = document.get("path") if isinstance(document, dict) else document
            raise DocumentError(place, name if isinstance(name, str) else None, _reason(error)) from None
        self.read += 1
        self.changed.update(found)
        self.changed["of another size"] += upright.size != (self.pixels.width, self.pixels.height)
        self.changed["of another aspect"] += upright.width * self.pixels.height != upright.height * self.pixels.width
        self.changed = +self.changed
        return pixels


def _reason(error: Exception) -> str:
    """What a document that could not be opened is."""
    if isinstance(error, UserError):
        return str(error)
    why = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split())[:120]})"
    return f"no image that Pillow can read{why}"


def _holds_images(feature) -> bool:
    """Whether a feature of `datasets` is Image, or what a table without its metadata has in its place."""
    if isinstance(feature, dict):
        return {"bytes", "path"} <= feature.keys()
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", None) in ("binary", "large_binary")
