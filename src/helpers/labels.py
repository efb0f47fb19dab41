"""What targets, metrics, floors and readings are called on pages and in figures: one word per thing."""

import re
from collections.abc import Iterable, Mapping

TARGETS = {
    "log2": "log2(x + 1)",
    "pearson_residual": "Pearson residual",
    "log1p_cp10k": "log1p(CP10k)",
}
METRICS = {
    "median_abs_rho_nuclei": "median over genes of |ρ(target, nuclei)|",
    "share_coupled_nuclei": "share of genes with |ρ(target, nuclei)| > 0.3",
    "median_abs_rho_nuclei_given_depth": "median over genes of |ρ(target, nuclei given depth)|",
    "median_abs_rho_depth": "median over genes of |ρ(target, depth)|",
    "share_coupled_depth": "share of genes with |ρ(target, depth)| > 0.3",
    "rho_nuclei_depth": "ρ(nuclei, depth)",
    "median_delta": "Δ of the top k genes",
    "wilcoxon_p_one_sided": "one-sided Wilcoxon p",
    "wilcoxon_p_two_sided": "two-sided Wilcoxon p",
    "permutation_p": "sign-flip p",
}
READINGS = {  # of the nuclei under a spot
    "disc": "count in the spot's disc",
    "crop": "count in STEM's crop",
    "area": "nuclear area in the disc",
    "threshold_low": "classical, threshold −20 %",
    "threshold_high": "classical, threshold +20 %",
    "classical": "classical",
    "table": "nuclei given as a file",
    "haematoxylin": "mean haematoxylin in the disc",
    "less_eosin": "haematoxylin less eosin in the disc",
}
FLOORS = {  # backbones that are floors
    "nuclei": "nuclei alone",
    "haematoxylin": "haematoxylin alone",
    "place": "place alone",
    "depth": "measured depth (oracle)",
}
ROWS = {name: called for name, called in FLOORS.items() if name not in READINGS} | {  # and counts that are controls
    "real": "as measured",
    "depth_only": "depth-only twin",
    "equal_depth": "equal-depth twin",
}
TRAINED = {  # spaces besides targets, and predictions put together of two
    "counts": "counts",
    "library": "predicted library alone",
    "residual_library": "residual, predicted library",
    "residual_oracle": "residual, measured library\n(oracle)",
}
SIZE_FACTORS = {  # what counts of an arm are divided by; the last two see to depth in another way
    "none": "not divided",
    "total": "÷ all counts",
    "panel_total": "÷ panel's counts",
    "nuclei": "÷ nuclei",
    "spot": "within the spot",
    "corrected": "corrected log",
}
TRANSFORMS = {
    "identity": "as it is",
    "sqrt": "square root",
    "log": "log",
    "acosh": "acosh",
    "pearson_residual": "Pearson residual",
    "clr": "centred log-ratio",
    "rank": "rank",
    "depth_regressed_log": "depth regressed out",
    "nuclei_regressed_log": "nuclei regressed out",
    "thinned": "thinned to equal depth",
}
DEFINITIONS = {  # of the genes that Delta_k is taken over
    "own_top_k": "best of each target",
    "log_top_k": "best in log, for both",
    "residual_top_k": "best as residual, for both",
}
CHOICES = {  # of a specification: what may be decided another way
    "nuclei": "nuclei",
    "spots": "spots",
    "panel": "panel",
    "library": "library size",
    "p_j": "$p_j$",
    "theta": "θ",
    "clip": "clipping",
    "genes": "over genes",
    "sections": "over sections",
    "definition": "definition",
    "ranking": "ranking",
    "backbone": "model",
    "split": "held out",
    "test": "test",
    "unit": "over",
}
SINGULAR = {"nuclei": "nucleus", "patches": "patch"}  # of nouns that do more than drop an s


# Words about nuclei -> about their stain; names of files, of keys and in code stay.
STAINED = {
    r"\b[Nn]uclei per spot\b": "mean haematoxylin of a spot",
    r"\b(?:numbers? of|count of|counted) nuclei\b": "mean haematoxylin",
    r"\bcount in\b": "mean haematoxylin in",
    r"\bcounting nuclei\b": "haematoxylin",
    r"\bhow many nuclei\b": "how much haematoxylin",
    r"(?<![\w/`.\"'])nuclei\b(?![.:]\w|:? *[{])": "haematoxylin",
    r"(?<![\w/`.\"'])Nuclei\b": "Haematoxylin",
}
_measure = "n_nuclei"  # what cellularity is measured by in what is shown now, see `schema.CELLULARITY`


def measured_by(measure: str) -> None:
    """Set what figures and labels call cellularity: nuclei, or, where these are not counted, haematoxylin."""
    global _measure
    _measure = measure


def of_cells(text: str, measure: str | None = None) -> str:
    """Words about nuclei as words about what cellularity is measured by.

    >>> of_cells("Nuclei and depth, median |rho(target, nuclei)|", "haematoxylin")
    'Haematoxylin and depth, median |rho(target, haematoxylin)|'
    """
    if (measure or _measure) == "n_nuclei":
        return text
    for of_nuclei, of_stain in STAINED.items():
        text = re.sub(of_nuclei, of_stain, text)
    return text


def label(name: str) -> str:
    """How a target, metric, reading, floor, control or space is called; what is unknown keeps its name."""
    found = (TARGETS | METRICS | READINGS | ROWS | TRAINED | DEFINITIONS).get(name, name)
    return of_cells(found) if isinstance(found, str) else found  # tables are relabelled whole, numbers among the names


def quantity_label(quantity: str) -> str:
    """How a quantity of a table is called, metric and what it is of: "rho_nuclei_depth, log2"."""
    return ", ".join(map(label, quantity.split(", ")))


def of_patients(sections: Iterable[str], patients: Mapping[str, str]) -> str:
    """Sections, each counted once, and their patients, in words.

    >>> of_patients(["C3", "C3", "C4"], {"B4": "B", "C3": "C", "C4": "C"})
    '2 sections of 1 patient'
    """
    names = set(sections)
    return f"{counted(len(names), 'sections')} of {counted(len({patients[name] for name in names}), 'patients')}"


def patient(name: str) -> str:
    """A patient in a sentence; one that no file names, and that counts as its section's own, ends in a question mark.

    >>> patient("B"), patient("MOB1?")
    ('patient B', 'MOB1, patient unknown')
    """
    return f"{name[:-1]}, patient unknown" if name.endswith("?") else f"patient {name}"


def span(low: float, high: float, form: str = "z.2f") -> str:
    """From one number to another, or the one where both are printed alike.

    >>> span(0.55, 0.81), span(0.6881, 0.6879, ".3f")
    ('0.55 to 0.81', '0.688')
    """
    first, last = f"{low:{form}}", f"{high:{form}}"
    return first if first == last else f"{first} to {last}"


def p_value(p: float, digits: int = 3, none: str = "–") -> str:
    """A p or q in a table: so many digits, and none that is printed as zero; `none` where there is none.

    >>> p_value(0.0124), p_value(0.0002), p_value(0.0002, digits=4), p_value(float("nan"))
    ('0.012', '< 0.001', '0.0002', '–')
    """
    least = 10.0**-digits
    return none if p != p else f"< {least:.{digits}f}" if p < least else f"{p:.{digits}f}"


def counted(n: int, what: str) -> str:
    """A number with its noun, given in the plural: "1 section", "1,200 spots"."""
    return f"{n:,} {what}" if n != 1 else f"1 {SINGULAR.get(what, what.removesuffix('s'))}"
