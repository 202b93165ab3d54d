"""The page that an annotator sees: one HTML file that holds its style and script, served or sent as a file."""

import base64
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2

from ...errors import UserError
from ...files import iterate_jsonl
from ...options import Options, option
from ..study import CHOICES, COMMENT_LENGTH

PLACEHOLDER = "[YOUR NAME AND ADDRESS]"  # in the instructions that come along
_HERE = Path(__file__).parent
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("hyperfitting.preference.page", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


@dataclass(frozen=True)
class Answer:
    """One of the answers to a pair, as a vote holds it, with its words."""

    choice: str
    strength: int | None
    label: str


THREE = (Answer("A", None, "A"), Answer("B", None, "B"), Answer("tie", None, "Equally good"))
FIVE = (
    Answer("A", 2, "A is clearly better"),
    Answer("A", 1, "A is slightly better"),
    Answer("tie", None, "Equally good"),
    Answer("B", 1, "B is slightly better"),
    Answer("B", 2, "B is clearly better"),
)


@dataclass(kw_only=True)
class PageOptions(Options):
    """What is asked beside the choice."""

    five_point: bool = option(False, "Ask for a clear or a slight preference too: five answers instead of three.")
    comments: bool = option(False, "Offer a field for a comment on each pair.")
    break_every: int = option(25, "Votes after which a break is suggested; 0: never.", least=0)

    @classmethod
    def of(cls, options: "PageOptions") -> "PageOptions":
        """These options alone, of a command that has more."""
        return cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})

    @property
    def answers(self) -> tuple[Answer, ...]:
        return FIVE if self.five_point else THREE


@dataclass(frozen=True)
class Page:
    """A page and the policy that lets it run its own style and script, and nothing else.

    Attributes:
        policy: a Content-Security-Policy, without what a <meta> element cannot say.
    """

    html: str
    policy: str


def read_parts(folder: Path) -> tuple[str, list[dict]]:
    """(instructions as Markdown, practice items) of a study's folder: its instructions.md and practice.jsonl. The ones that come
    along are copied there first where it has none, so that what people were shown stays beside their votes.

    Raises:
        UserError: one of them cannot be used, with its file and line.
    """
    for name in ("instructions.md", "practice.jsonl"):
        if not (folder / name).exists():
            shutil.copyfile(_HERE / name, folder / name)
    try:
        instructions = (folder / "instructions.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / 'instructions.md'} cannot be read: {error}") from None
    practice = []
    for number, row in iterate_jsonl(folder / "practice.jsonl"):
        wanted = ("context", "a", "b", "answer", "why")
        if not all(isinstance(row.get(key), str) for key in wanted) or row["answer"] not in CHOICES:
            raise UserError(
                f"{folder / 'practice.jsonl'}, line {number} must hold the texts {', '.join(wanted)}, and an answer of "
                f"{', '.join(CHOICES)}"
            )
        practice.append({key: row[key] for key in wanted})
    return instructions, practice


def make_page(folder: Path, options: PageOptions, store: str, **settings) -> Page:
    """The page of a study.

    Args:
        folder: of the study; nothing of its database is read.
        store: where votes go: `server` or `file`.
        settings: what that store needs to know; plain JSON values.
    """
    instructions, practice = read_parts(folder)
    answers = [asdict(answer) for answer in options.answers]
    asked = {"answers": answers, "comments": options.comments, "break_every": options.break_every}
    asked |= {"practice": practice, "comment_length": COMMENT_LENGTH, **settings}
    style, script = _source("page.css"), _source("words.js", f"{store}_store.js", "page.js")
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src data:; base-uri 'none'; "
    policy += f"form-action 'none'; connect-src {chr(39)}{'self' if store == 'server' else 'none'}{chr(39)}"
    html = _TEMPLATES.get_template("page.html").render(
        policy=policy, style=style, script=script, instructions=_markdown(instructions), settings=_inert(asked)
    )
    return Page(html, policy)


def _source(*names: str) -> str:
    return "\n" + "".join((_HERE / name).read_text(encoding="utf-8") for name in names)


def _digest(source: str) -> str:
    """The name of an inline style or script in a policy: its SHA-256."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _inert(values: dict) -> str:
    """JSON that is ASCII and cannot end the element that holds it, whatever a model wrote."""
    return json.dumps(values).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _markdown(text: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).disable("image").render(text)
