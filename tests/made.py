"""Sections of known truth on three lattices, and models of them that know what their name says, for the audit."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers import schema
from helpers.targets.normalization import TARGETS

N_GENES, PANEL = 160, 100
GENES = [f"G{i}" for i in range(N_GENES)]


def square():
    return np.argwhere(np.ones((23, 24))).astype(float)


def hexagonal():
    """Rows of spots, every second one half a step along, as on Visium."""
    xy = np.argwhere(np.ones((24, 22)))[:, ::-1].astype(float)
    return np.column_stack([xy[:, 0] + 0.5 * (xy[:, 1] % 2), xy[:, 1] * np.sqrt(0.75)])


def outline():
    """Tissue of an odd shape with two holes, on a square lattice that lies askew."""
    xy = np.argwhere(np.ones((29, 29))) - 14
    angle, radius = np.arctan2(*xy.T), np.hypot(*xy.T)
    inside = radius < 13.5 * (1 + 0.12 * np.sin(3 * angle) + 0.06 * np.cos(5 * angle))
    for hole, width in (((5, 4), 2.6), ((-6, -3), 3)):
        inside &= np.hypot(*(xy - hole).T) > width
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    return xy[inside] @ turn


GEOMETRIES = {"square": square, "hexagonal": hexagonal, "outline": outline}


class Truth:
    """What is true of a section at any place, so that a model can be right about the wrong place.

    Composition has factors as wide as 2, 4 and 8 steps, the same in sections of one `serial`; the library has nuclei
    (r about 0.6), a field of its own and scatter between spots.
    """

    def __init__(self, xy, seed, serial=None):
        self.xy, self.rng = xy, np.random.default_rng(seed)
        genes = np.random.default_rng(0)  # what is true of genes holds in every section
        tissue = self.rng if serial is None else np.random.default_rng([serial, 2])
        self.waves = [self._wave(scale, tissue) for scale in (2, 2, 4, 4, 8, 8)]
        self.waves += [self._wave(scale, self.rng) for scale in (2.5, 3, 0.2, 0.2)]
        self.loading = genes.normal(0, 0.25, (6, N_GENES))
        self.level = genes.lognormal(0, 0.7, N_GENES)
        self.seed, self.fields = seed, {}

    def _wave(self, scale, rng):
        return rng.normal(0, 1 / scale, (2, 200)), rng.uniform(0, 2 * np.pi, 200)

    def field(self, i, shift=(0, 0)):
        """A smooth map of mean 0 and variance 1 over the plane, at the spots or as many steps away."""
        at = i, *np.round(shift, 9)
        if at not in self.fields:
            frequency, phase = self.waves[i]
            self.fields[at] = np.cos((self.xy + shift) @ frequency + phase).sum(axis=1) / 10
        return self.fields[at]

    def nuclei(self, shift=(0, 0)):
        return np.round(20 * np.exp(0.35 * self.field(6, shift) + 0.1 * self.field(8, shift))).clip(1)

    def library(self, shift=(0, 0)):
        own = 0.18 * self.field(7, shift) + 0.15 * self.field(9, shift)
        return 3500 * np.exp(0.3 * self.field(6, shift) + own)

    def composition(self, shift=(0, 0)):
        fields = np.column_stack([self.field(i, shift) for i in range(6)])
        made = self.level * np.exp(fields @ self.loading)
        return made / made.sum(axis=1, keepdims=True)

    def section(self, name, patient="", theta=100):
        """The section as it would be measured: counts of Poisson and gamma."""
        mu = self.library()[:, None] * self.composition()
        rng = np.random.default_rng([self.seed, 1])
        counts = rng.poisson(mu * rng.gamma(theta, 1 / theta, mu.shape))
        spots = [f"s{i}" for i in range(len(mu))]
        made = AnnData(obs=pd.DataFrame(index=spots), var=pd.DataFrame(index=GENES))
        made.layers[schema.COUNTS] = csr_matrix(counts.astype(np.float32))
        made.obsm[schema.SPATIAL] = self.xy * 290
        made.obs["n_nuclei"] = self.nuclei()
        made.uns |= {"section": name, "patient": patient}
        return made


def as_predicted(library, composition, space):
    """What a model of this library (spots) and composition (spots x genes) would predict in a space."""
    share = composition.mean(axis=0)
    return TARGETS[space].values(library[:, None] * composition, library, share)[:, :PANEL]
