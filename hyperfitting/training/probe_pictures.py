"""Pictures of the probe, of data that a person looks at: grids of one evaluation, and a strip over all of them."""

from collections.abc import Sequence

from ..codec import Codec
from .run_folder import RunFolder

STRIP = 8  # continuations that are followed over the evaluations


def draw_probe(run: RunFolder, step: int, originals: Sequence[Sequence[int]], codec: Codec) -> None:
    """Draw what was continued at `step` beside the rows whose first ids were given, if the kind of data is one to look at."""

    def rows(at: int) -> list[list[int]]:
        return [record["context_ids"] + record["continuation_ids"] for record in run.read_probe(at)]

    now = run.read_probe(step)
    context_len, originals = len(now[0]["context_ids"]), originals[: len(now)]
    grid = codec.draw({"original": originals, f"step {step}": rows(step)}, context_len)
    if grid is not None:
        steps = {f"step {at}": rows(at)[:STRIP] for at in run.probe_steps() if at <= step}
        run.write_grid(step, grid, codec.draw({"original": originals[:STRIP], **steps}, context_len))
