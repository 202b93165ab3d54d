"""Opening a picture: upright and of 8 bits a channel, whatever it is stored as."""

import io

import numpy as np
from PIL import Image, ImageOps

from ..errors import UserError

GREY = ("1", "L", "LA", "La")
PALETTE = ("P", "PA")
COLOUR_SPACES = ("CMYK", "YCbCr", "LAB", "HSV")
PLAIN = {
    "La": "LA",
    "RGBa": "RGBA",
    "LAB": "RGB",
}  # modes that lose their alpha or their colours on the way to RGB, and those that do not
ORIENTATION = 0x0112  # of EXIF
TIFF_BITS, TIFF_PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0


def open_picture(document) -> tuple[Image.Image, list[str]]:
    """A document upright and of 8 bits a channel, and what is to be said of it: what it was that an RGB picture is not.

    Raises:
        UserError: its numbers have no range that is known, so that they cannot become 8 bits.
        Exception: whatever Pillow's readers raise of a damaged file.
    """
    image, has_16_bits, has_frames = _decode(document)
    upright = ImageOps.exif_transpose(image)
    is_wide_grey = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if is_wide_grey:
        upright = _grey_of_8_bits(image, upright)
    elif image.mode not in (*GREY, *PALETTE, *COLOUR_SPACES, "RGB", "RGBA", "RGBa", "RGBX"):
        kind = {"F": "floating-point numbers", "I": "32-bit numbers"}.get(image.mode, "numbers")
        raise UserError(
            f"a picture of {kind} (mode {image.mode}) without a known range, which 8 bits a channel cannot hold"
        )
    elif image.mode == "RGB" and "transparency" in image.info:  # one colour is clear
        upright.info["transparency"] = tuple(value >> 8 * has_16_bits for value in image.info["transparency"])
        upright = upright.convert("RGBA")
    upright = upright.convert(PLAIN.get(upright.mode, upright.mode))
    found = {
        "grey": is_wide_grey or image.mode in GREY,
        "with a palette": image.mode in PALETTE,
        "of another colour space": image.mode in COLOUR_SPACES,
        "of 16 bits a channel": is_wide_grey or has_16_bits,
        "transparent": _is_transparent(upright),
        "turned": image.getexif().get(ORIENTATION) in range(2, 9),
        "the first of several frames": has_frames,
    }
    return upright, [what for what, holds in found.items() if holds]


def _decode(document) -> tuple[Image.Image, bool, bool]:
    """Open a document and read all of it; whether it is stored with 16 bits a channel, and whether it is one of several frames."""
    if isinstance(document, Image.Image):
        return document, False, False
    if document is None:
        raise ValueError("there is none")
    if isinstance(document, dict):
        document = document["path"] if document["bytes"] is None else io.BytesIO(document["bytes"])
    with Image.open(document) as image:
        has_16_bits = any(";16" in str(tile[3]) for tile in image.tile)
        has_frames = image.format != "MPO" and getattr(
            image, "is_animated", False
        )  # MPO: a JPEG with previews of itself
        image.load()
        return image, has_16_bits, has_frames


def _grey_of_8_bits(image: Image.Image, upright: Image.Image) -> Image.Image:
    """A grey picture of more bits, of whose numbers the upper 8 are kept, as Pillow does with colours of 16 bits."""
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(upright).astype(np.int64)
    grey = (values >> (tags.get(TIFF_BITS, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow minds in pictures of 8 bits alone
        grey = 255 - grey
    if "transparency" not in image.info:
        return Image.fromarray(grey)
    alpha = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))


def _is_transparent(image: Image.Image) -> bool:
    """Whether there is a pixel through which the ground is seen."""
    may_be = "A" in image.getbands() or "transparency" in image.info
    return may_be and image.convert("RGBA").getchannel("A").getextrema()[0] < 255
