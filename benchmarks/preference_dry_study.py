"""A scripted annotator, a stand-in for people, votes in a study: the whole path can be tried before anybody is asked.

    python benchmarks/preference_dry_study.py studies/dry

It prefers the text that repeats fewer of its pairs of words, with noise; a table of its votes must show that, and says nothing else.
"""

import argparse

import numpy as np

from hyperfitting.preference.pairs import SHUFFLED
from hyperfitting.preference.study import Study
from hyperfitting.scoring.text import rep_n

NOISE = 0.05  # standard deviation of a judgement of rep-2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study")
    study = Study(parser.parse_args().study)
    shuffled = {pair.text for pair in study.pairs() if pair.condition == SHUFFLED}
    for person in study.annotators():
        rng = np.random.default_rng(person.annotator)
        equal = 0.04 * rng.random()  # the difference that this annotator calls equally good
        for item in list(study.items(person)):
            a, b = ((1.0 if text in shuffled else rep_n(text.split(), 2) or 0.0) for text in (item.a, item.b))
            more = a - b + NOISE * rng.normal()
            study.vote(person, item.assignment, "tie" if abs(more) < equal else "B" if more > 0 else "A")
        print(f"annotator {person.annotator}: {study.progress(person)[0]} votes")


if __name__ == "__main__":
    main()
