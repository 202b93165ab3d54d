"""The paper's human preferences, to stand beside ours: Carlsson et al. (ICLR 2025), Table 1, "preferred or equal" to the original text in
percent of three votes on each of 300 contexts. The numbers are second-hand, as reviews and notes quote the table; what they do not
quote is None."""

SOURCE = (
    "Carlsson et al. 2025, Table 1, as quoted in reviews: 300 contexts, 3 votes each; published without intervals, whose half-width is "
    "about 5.6 points for independent contexts"
)

# (model and decoding, at 128 tokens, at 256 tokens)
TABLE_1 = (
    ("TinyLlama 1.1B, greedy", None, 4.9),
    ("TinyLlama 1.1B, Top-P", None, 21.1),
    ("TinyLlama 1.1B, hyperfitted, greedy", None, 34.3),
    ("TinyLlama 1.1B, hyperfitted, greedy, citation blocker", None, 35.0),
    ("DeepSeek 7B, Top-P", 37.7, 35.6),
    ("DeepSeek 7B, hyperfitted, greedy", 49.4, 45.2),
    ("DeepSeek 7B, hyperfitted, greedy, citation blocker", None, 44.1),
    ("Llama 3.1 8B, Top-P", None, 38.5),
    ("Llama 3.1 8B, hyperfitted, greedy", None, 42.9),
    ("Llama 3.1 8B, hyperfitted, greedy, citation blocker", None, 41.2),
    ("Llama 3.1 70B, greedy", None, 34.4),
    ("Llama 3.1 70B, hyperfitted, greedy", None, 52.4),
)
