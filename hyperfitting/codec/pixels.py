"""How ids are pictures: their size and colours, and drawings of them. A folder of generations holds it, beside no model."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SCALE, GAP, HEADING = 4, 4, 12  # of a drawing: screen pixels a pixel, between pictures, a line above a column
LINE = (255, 0, 80)


@dataclass(frozen=True)
class PixelFormat:
    """Rows of ids as pictures: perhaps a start token, then a colour for each pixel in raster order.

    Attributes:
        height, width: in pixels.
        colours: (ids, 3) uint8 RGB; the last is the start token's, in which missing pixels are drawn.
    """

    height: int
    width: int
    colours: np.ndarray

    @classmethod
    def from_json(cls, facts: dict) -> "PixelFormat":
        """Read what `to_json` gave."""
        return cls(facts["height"], facts["width"], np.array(facts["colours"], dtype=np.uint8))

    def to_json(self) -> dict:
        return {"height": self.height, "width": self.width, "colours": self.colours.tolist()}

    @property
    def start(self) -> int:
        """Id of the start token, behind those of the colours."""
        return len(self.colours) - 1

    def pixels_of(self, row: Sequence[int]) -> list[int]:
        """The ids of a row without its start token."""
        return list(row[1:] if len(row) and row[0] == self.start else row)

    def picture(self, row: Sequence[int]) -> np.ndarray:
        """(height, width, 3) uint8 RGB of a row; grey where it was cut short."""
        ids, pixels = np.full(self.height * self.width, self.start), self.pixels_of(row)[: self.height * self.width]
        ids[: len(pixels)] = pixels
        return self.colours[ids].reshape(self.height, self.width, 3)

    def png(self, row: Sequence[int]) -> bytes:
        """A row as a PNG, one pixel a pixel."""
        from PIL import Image

        return _png(Image.fromarray(self.picture(row)))

    def address(self, row: Sequence[int]) -> str:
        """The same as a `data:` address, which a page can show without a file."""
        return f"data:image/png;base64,{base64.b64encode(self.png(row)).decode()}"

    def draw(self, columns: Mapping[str, Sequence[Sequence[int]]], context_len: int) -> bytes:
        """See `Codec.draw`: a line below what was given, headings above the columns."""
        from PIL import Image, ImageDraw, ImageFont

        width, height = SCALE * self.width, SCALE * self.height
        font = ImageFont.load_default()
        headings = ["\n".join(_fitted(heading, width + GAP - 1, font.getlength)) for heading in columns]
        above = GAP + HEADING * (1 + max(heading.count("\n") for heading in headings))
        lines, size = max(map(len, columns.values())), (width, height)
        sheet = Image.new("RGB", (len(columns) * (width + GAP) + GAP, above + lines * (height + GAP)), "white")
        pen = ImageDraw.Draw(sheet)
        for column, (heading, rows) in enumerate(zip(headings, columns.values(), strict=True)):
            left = GAP + column * (width + GAP)
            pen.text((left, 1), heading, fill="black", font=font, spacing=1)
            for line, row in enumerate(rows):
                top = above + line * (height + GAP)
                sheet.paste(Image.fromarray(self.picture(row)).resize(size, Image.Resampling.NEAREST), (left, top))
                pen.line([(left + x, top + y) for x, y in self._edge(context_len - 1)], fill=LINE)
        return _png(sheet)

    def _edge(self, given: int) -> list[tuple[int, int]]:
        """The line below the first `given` pixels, in screen pixels of a drawn picture."""
        whole, rest = divmod(given, self.width)
        ends = [(0, whole + (rest > 0)), (rest, whole + (rest > 0)), (rest, whole), (self.width, whole)]
        return [(SCALE * x, SCALE * y) for x, y in ends]


def _fitted(heading: str, width: float, length: Callable[[str], float]) -> list[str]:
    """The words of a heading in lines of at most `width`; what is longer is cut."""
    lines: list[str] = []
    for word in heading.split():
        while length(word) > width:
            word = word[:-1]
        if lines and length(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _png(image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
