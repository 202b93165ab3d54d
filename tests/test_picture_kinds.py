"""What pictures may be stored as: more bits, other colour spaces, frames, alpha; and how many of them are in memory."""

import gc
import io
import struct
import weakref
import zlib

import numpy as np
import pytest
from PIL import Image
from transformers import ImageGPTImageProcessorPil

from hyperfitting.codec import DocumentError, images
from hyperfitting.codec.images import ImageCodec

LEVELS = 16  # colours of the codec: greys, so that an id says how bright a pixel is
VALUES = np.array([[0, 300, 0x4000, 0x7FFF], [0x8000, 0xC000, 0xFF00, 0xFFFF]])
BRIGHT = [[round((value >> 8) / 17) for value in row] for row in VALUES.tolist()]  # their ids


@pytest.fixture
def codec():
    greys = np.repeat(np.linspace(-1, 1, LEVELS)[:, None], 3, 1)
    return ImageCodec(ImageGPTImageProcessorPil(clusters=greys, size={"height": 2, "width": 4}))


def ids(codec, document) -> list[list[int]]:
    return np.reshape(codec.encode([document], special=False), (2, 4)).tolist()


def as_bytes(image, kind, **options) -> dict:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return {"bytes": stream.getvalue(), "path": None}


def png(values, colour, clear=None) -> dict:
    """A PNG of 16 bits a channel, which Pillow does not write but in grey: (height, width[, channels])."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    key = chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    data = b"\x89PNG\r\n\x1a\n" + head + key + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return {"bytes": data, "path": None}


def tiff(values, bits, photometric) -> dict:
    """A grey TIFF, uncompressed, of 12 or 16 bits."""
    height, width = values.shape
    digits = "".join(format(value, f"0{bits}b") for value in values.ravel())
    data = np.array(values, "<u2").tobytes() if bits == 16 else int(digits, 2).to_bytes(len(digits) // 8, "big")
    entries = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: photometric,
        273: 0,
        277: 1,
        278: height,
        279: len(data),
    }
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return {"bytes": b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4) + data, "path": None}


def rgb(values):
    return np.repeat(values[..., None], 3, -1)


WIDE = {
    "a grey PNG": lambda: as_bytes(Image.fromarray(VALUES.astype(np.uint16)), "PNG"),
    "a grey TIFF": lambda: as_bytes(Image.fromarray(VALUES.astype(np.uint16)), "TIFF"),
    "a big-endian TIFF": lambda: as_bytes(Image.frombytes("I;16B", (4, 2), VALUES.astype(">u2").tobytes()), "TIFF"),
    "a Pillow image": lambda: Image.fromarray(VALUES.astype(np.uint16)),
    "a colour PNG": lambda: png(rgb(VALUES), 2),
    "a colour PNG with alpha": lambda: png(np.dstack([rgb(VALUES), np.full((2, 4), 0xFFFF)]), 6),
    "a TIFF of 12 bits": lambda: tiff(VALUES >> 4, 12, 1),
    "a TIFF whose white is zero": lambda: tiff(0xFFFF - VALUES, 16, 0),
    "a PGM": lambda: {"bytes": b"P5\n4 2\n65535\n" + VALUES.astype(">u2").tobytes(), "path": None},
}


@pytest.mark.parametrize("kind", WIDE)
def test_more_bits_a_channel_are_scaled(kind, codec):
    assert ids(codec, WIDE[kind]()) == BRIGHT
    said = codec.notes()
    assert kind == "a Pillow image" or "1 of 16 bits a channel" in said[0]
    assert not said or ("grey" in said[0]) == ("colour" not in kind) and "transparent" not in said[0]


@pytest.mark.parametrize("mode, kind", [("I", "TIFF"), ("F", "TIFF"), ("I", None), ("F", None)])
def test_numbers_without_a_range_are_refused(mode, kind, codec):
    image = Image.fromarray(np.array(VALUES, np.int32 if mode == "I" else np.float32))
    with pytest.raises(DocumentError, match=rf"numbers \(mode {mode}\) without a known range") as raised:
        codec.encode([Image.new("L", (4, 2)), as_bytes(image, kind) if kind else image])
    assert raised.value.place == 1
    with pytest.raises(DocumentError, match="without a known range"):
        codec.encode([{"bytes": b"Pf\n1 1\n-1.0\n" + bytes(4), "path": "light.pfm"}])


def test_colours_of_other_spaces_keep_their_brightness(codec):
    picture = Image.fromarray(rgb((VALUES >> 8).astype(np.uint8)))
    for mode in ("CMYK", "YCbCr", "HSV"):
        assert np.abs(np.subtract(ids(codec, picture.convert(mode)), BRIGHT)).max() <= 1, mode
    lab = np.zeros((2, 4, 3), np.uint8)  # L, and no colour
    lab[..., 0] = [[0, 40, 90, 120], [150, 180, 220, 255]]
    found = np.ravel(ids(codec, Image.frombytes("LAB", (4, 2), lab.tobytes())))
    assert found[0] == 0 and found[-1] == LEVELS - 1 and (np.diff(found) > 0).all()
    assert codec.notes() == ["images that were read: 4; converted: 4 of another colour space"]


def test_what_is_clear_is_white_and_counted_where_something_is(codec):
    black, white = [[0] * 4] * 2, [[LEVELS - 1] * 4] * 2
    plain = Image.new("RGB", (4, 2))
    for clear in (
        Image.new("RGBA", (4, 2)),
        Image.new("LA", (4, 2)),
        Image.new("La", (4, 2)),
        Image.new("RGBa", (4, 2)),
        as_bytes(plain, "PNG", transparency=(0, 0, 0)),
        as_bytes(plain.convert("L"), "PNG", transparency=0),
        as_bytes(plain.convert("P"), "PNG", transparency=0),
        png(rgb(VALUES * 0), 2, clear=(0, 0, 0)),
        png(rgb(VALUES * 0 + 300), 2, clear=(300, 300, 300)),
        png(VALUES * 0 + 300, 0, clear=(300,)),
    ):
        before = codec.changed["transparent"]
        assert ids(codec, clear) == white and codec.changed["transparent"] == before + 1
    count = codec.changed["transparent"]
    for opaque in (Image.new("RGBA", (4, 2), (0, 0, 0, 255)), as_bytes(plain, "PNG", transparency=(1, 2, 3))):
        assert ids(codec, opaque) == black and codec.changed["transparent"] == count


def test_frames_and_turns_are_counted_where_they_are(codec):
    dark, light = Image.new("RGB", (4, 2)), Image.new("RGB", (4, 2), "white")
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        moving = as_bytes(
            dark, kind, save_all=True, append_images=[light], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert ids(codec, moving) == [[0] * 4] * 2
    assert codec.changed["the first of several frames"] == 4
    for orientation in (0, 1, 9):  # two of them mean nothing
        exif = Image.Exif()
        exif[0x0112] = orientation
        codec.encode([as_bytes(light, "PNG", exif=exif)])
    assert codec.changed["turned"] == 0
    exif[0x0112] = 3
    turned = as_bytes(Image.fromarray(VALUES[::-1, ::-1].astype(np.uint16)), "PNG", exif=exif)
    assert ids(codec, turned) == BRIGHT and codec.changed["turned"] == 1


def test_one_picture_is_in_memory_at_a_time(codec, monkeypatch):
    opened, open_picture = [], images.open_picture

    def watched(document):
        gc.collect()
        assert not any(picture() for picture in opened)
        upright, found = open_picture(document)
        opened.append(weakref.ref(upright))
        return upright, found

    monkeypatch.setattr(images, "open_picture", watched)
    codec.encode([as_bytes(Image.new("RGB", (40, 20)), "PNG") for _ in range(4)])
    assert len(opened) == 4
