"""The one list of layouts.

A reader takes the cohort's folder and the name that the section's files bear, and returns a `raw.RawSection`. What its
files do not say stays unknown there; `helpers.cohort.sections.read` makes a section of it.
"""

from helpers.cohort.layouts import h5ad, her2st, hest, spaceranger, stutility

LAYOUTS = {
    "her2st": her2st.read,
    "hest": hest.read,
    "spaceranger": spaceranger.read,
    "stutility": stutility.read,
    "h5ad": h5ad.read,
}
