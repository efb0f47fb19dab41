"""README's results and their figure, from the tables in data/results/: `make reference` runs this last."""

from pathlib import Path

import matplotlib.pyplot as plt

from helpers.chapters import answer
from helpers.figures import answer as drawn
from helpers.figures import style

RESULTS = Path(__file__).parents[1] / "data/results"

answer.write(RESULTS.parents[1] / "README.md", RESULTS)
tables, beside = (
    answer.read(RESULTS / answer.RUNS[0]),
    answer.couplings_of_runs([RESULTS / name for name in answer.RUNS]),
)
style.use()
figure = plt.figure(figsize=drawn.SIZE)
ranks = answer.quoted_ranks(tables)
drawn.answer(figure, answer.drawn_couplings(beside), answer.drawn_scores(tables), ranks, answer.REPORTS)
style.save(figure, RESULTS / "answer.svg")
