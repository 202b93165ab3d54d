"""curves.png: losses and TTR over the run, as in the paper's Figure 2."""

from .run_folder import RunFolder


def draw_curves(run: RunFolder) -> None:
    """Draw metrics.jsonl into curves.png: training and validation loss; TTR with the level of the original text."""
    from matplotlib.figure import Figure

    steps = [r for r in run.read_metrics() if r["kind"] == "train"]
    evaluations = run.evaluations()
    probed = [r for r in evaluations if r.get("ttr") is not None]
    figure = Figure(figsize=(9 if probed else 5, 3.4), layout="tight")
    axes = figure.subplots(1, 2 if probed else 1, squeeze=False)
    losses = axes[0][0]
    if steps:
        losses.plot(
            [r["epoch"] for r in steps],
            [r["loss"] for r in steps],
            color="C0",
            alpha=0.3,
            lw=0.8,
            label="training, per step",
        )
    epochs = [r["epoch"] for r in evaluations]
    for key, label, colour in (("train_loss", "training rows", "C0"), ("validation_loss", "validation rows", "C1")):
        losses.plot(epochs, [r[key] for r in evaluations], color=colour, marker=".", label=label)
        losses.fill_between(epochs, *zip(*(r[f"{key}_ci"] for r in evaluations), strict=True), color=colour, alpha=0.2)
    losses.set(xlabel="epoch", ylabel="loss, nats per token", ylim=(0, None))
    losses.legend(frameon=False)
    if probed:
        texts, epochs = axes[0][1], [r["epoch"] for r in probed]
        texts.plot(epochs, [r["ttr"] for r in probed], color="C2", marker=".", label="greedy continuations")
        texts.fill_between(epochs, *zip(*(r["ttr_ci"] for r in probed), strict=True), color="C2", alpha=0.2)
        if probed[-1]["original_ttr"] is not None:
            texts.axhline(probed[-1]["original_ttr"], color="grey", ls="--", lw=1, label="original text")
        texts.set(xlabel="epoch", ylabel=f"TTR, last 96 tokens (n = {probed[-1]['n_texts']})", ylim=(0, 1))
        texts.legend(frameon=False)
    figure.savefig(run.curves, dpi=130)
