# Each target sets up what it needs. `make book COHORT=her2st BACKBONES=ridge PROFILE=cpu CORES=8`
COHORT ?= toy
CORES ?= 2
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH :=

# Values given on the command line replace those of the config file.
OVERRIDES := $(if $(BACKBONES),backbones=[$(BACKBONES)]) $(if $(PROFILE),profile=$(PROFILE))
FLAGS = --cores $(CORES) --configfile config/$(COHORT).yaml --rerun-incomplete --quiet rules \
        $(if $(strip $(OVERRIDES)),--config $(OVERRIDES))

.PHONY: book data check audit test test-full lab bench reference clean
.DEFAULT_GOAL := book

book: .venv/ready config/$(COHORT).yaml
	@$(BIN)/snakemake book $(FLAGS)
	@echo "The book: $(CURDIR)/build/$(COHORT)/html/index.html"

# What a public cohort lacks is downloaded.
data: .venv/ready config/$(COHORT).yaml
	@$(BIN)/python -m helpers.downloads config/$(COHORT).yaml

# Each section's raw files, read in seconds: what is there, what is missing, what is wrong.
check: .venv/ready config/$(COHORT).yaml
	@$(BIN)/python -m helpers.check config/$(COHORT).yaml

# A report card for predictions of any model: make audit ARGS="--predictions 'pred/{section}.csv' ..."; without ARGS, help.
audit: .venv/ready
	@$(BIN)/python -m helpers.audit $(or $(ARGS),--help)

test: .venv/ready
	$(BIN)/ruff check src tests
	$(BIN)/pytest -m "not full"

test-full: .venv/ready
	$(BIN)/pytest

lab: .venv/ready
	cd notebooks && ../$(BIN)/jupyter lab

bench: .venv/ready
	$(BIN)/python tests/bench.py

# The tables behind every panel, with their provenance, from build/ into data/results/.
reference: book
	@$(BIN)/snakemake reference --forcerun reference $(FLAGS)

clean:
	rm -rf build .snakemake

config/%.yaml:
	@echo "no cohort '$*': there is no $@. Known: $(patsubst config/%.yaml,%,$(filter-out config/schema.yaml,$(wildcard config/*.yaml)))" >&2; exit 2

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in [(3, 11), (3, 12)] and f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "Setting up .venv (about 7 GB, a minute or two on a fast line)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
