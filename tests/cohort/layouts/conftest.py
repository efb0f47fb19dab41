import pytest

from helpers.cohort import sections, simulate


@pytest.fixture(scope="package")
def truth(tmp_path_factory):
    """A simulated section, to be written again as each layout has it."""
    root = tmp_path_factory.mktemp("truth")
    simulate.write_cohort(root, sections={"A1": 3000}, lattice=(6, 5), n_genes=120)
    return sections.read("her2st", root, "A1")
