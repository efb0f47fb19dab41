"""README's results and their figure, from the tables in data/results/: `make reference` runs this last."""

from pathlib import Path

import matplotlib.pyplot as plt

from helpers.chapters import answer, answer_numbers
from helpers.figures import answer as drawn
from helpers.figures import style

RESULTS = Path(__file__).parents[1] / "data/results"

answer.write(RESULTS.parents[1] / "README.md", RESULTS)
tables, beside = (
    answer_numbers.read(RESULTS / answer_numbers.RUNS[0]),
    answer_numbers.couplings_of_runs([RESULTS / name for name in answer_numbers.RUNS]),
)
style.use()
figure = plt.figure(figsize=drawn.SIZE)
drawn.answer(figure, *answer_numbers.drawn(tables, beside), reports=answer.REPORTS)
style.save(figure, RESULTS / "answer.svg")
