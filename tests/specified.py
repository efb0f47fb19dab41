"""A small section and the spots of sections by reading, for the tests of specifications."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.chapters import specified_couplings


def make_section(name, n_genes=5, seed=0):
    rng = np.random.default_rng(seed)
    xy = np.array([(x, y) for x in range(4) for y in range(4)], float)
    made = AnnData(
        obs=pd.DataFrame(index=[f"{x:g}x{y:g}" for x, y in xy]), var=pd.DataFrame(index=list("ABCDE")[:n_genes])
    )
    made.layers[schema.COUNTS] = sparse.csr_matrix(rng.poisson(4, (16, n_genes)).astype(np.float32))
    made.obsm[schema.SPATIAL] = made.obsm[schema.LATTICE] = xy
    made.uns["section"] = name
    return made


def spots_in(**sections):
    return {specified_couplings.ALL_SPOTS: {name: section.obs_names for name, section in sections.items()}}
