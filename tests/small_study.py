"""A small study for the tests of the preference room: made by hand, so that every hidden name in it is known."""

from hyperfitting.preference.study import Assignment, Pair, Study

# None of these may reach a browser, nor a file that an annotator gets.
HIDDEN = ("zz-llama-tuned", "zz-llama-base", "zz-original", "zz-news-corpus", "zz-context", "greedy", "nucleus")
SCRIPT = (
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> &amp; <b>bold</b>"
)
BIDI = "left \u202eright to left\u202c \u2066isolate"
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitän" * 8


def small_pairs(contexts: int = 6) -> list[Pair]:
    pairs = []
    for number in range(contexts):
        sides = [
            f"Text {number} of the first kind goes on here. " * 6,
            f"Text {number} of the other kind goes on here. " * 6,
        ]
        sides[0] += {0: SCRIPT, 1: BIDI, 2: "nul \0 and a tab \t", 3: LONG_WORD}.get(number, "")
        pairs.append(
            Pair(
                condition="zz-llama-tuned greedy" if number % 2 else "zz-llama-base nucleus",
                against="zz-original",
                source="zz-news-corpus",
                context_id=f"zz-context-{number}",
                length=128,
                context=f"Beginning {number} of a story <i>with</i> markup,\nand a second line.",
                text=sides[0],
                other=sides[1],
            )
        )
    return pairs


def small_study(folder, annotators: int = 2, contexts: int = 6) -> Study:
    """Each annotator sees every pair once, and the first of them a second time with its sides swapped."""
    pairs = small_pairs(contexts)
    lists = []
    for annotator in range(annotators):
        order = [(number + annotator) % contexts for number in range(contexts)]
        own = [Assignment(pair, swapped=(pair + annotator) % 2 == 1, role="vote") for pair in order]
        lists.append([*own, Assignment(own[0].pair, not own[0].swapped, "repeat")])
    return Study.create(folder, pairs, lists, {"length": 128})
