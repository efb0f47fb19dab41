"""What an abundant gene has of its own: the covariate of panel F."""

import numpy as np
import pandas as pd


def log_abundance(moments: pd.DataFrame) -> pd.DataFrame:
    """Log mean count of each gene in each section, NaN for a gene without counts.

    `moments` has section, gene and mean_count, the same in every target. Columns section, gene, log_mean_count.
    """
    table = moments.drop_duplicates(["section", "gene"])[["section", "gene", "mean_count"]]
    table["log_mean_count"] = np.log(table["mean_count"].where(table["mean_count"] > 0))
    return table[["section", "gene", "log_mean_count"]]
