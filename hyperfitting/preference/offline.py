"""The page of one annotator as a file of its own, for where there is no server: it hands back a JSON file of votes."""

from pathlib import Path

from ..files import write_atomically
from .ballots import ticket
from .page import PageOptions, make_page
from .study import Annotator, Study


def export_html(study: Study, annotator: Annotator, stem: Path, options: PageOptions) -> list[Path]:
    """Write the page, with what the annotator has not voted on yet, to `stem`.html.

    It holds what the server would have shown, opaque ids and texts in the order in which they are asked, and no secret.
    """
    items = [{"assignment": i.assignment, "context": i.context, "a": i.a, "b": i.b} for i in study.items(annotator)]
    page = make_page(study.folder, options, "file", items=items, ticket=ticket(annotator), file=f"votes-{stem.name}")
    path = stem.with_name(f"{stem.name}.html")
    write_atomically(path, page.html)
    return [path]
