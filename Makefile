# Each target sets up what it needs. `make book COHORT=her2st BACKBONES=ridge PROFILE=cpu CORES=8`
COHORT ?= toy
CORES ?= 2
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH :=
# Bytecode is kept: each page and test starts a Python, which else compiles all that it imports anew (9 s for 3 s).
export PYTHONDONTWRITEBYTECODE :=
export JUPYTER_PATH :=

# Values given on the command line replace those of the config file.
OVERRIDES := $(if $(BACKBONES),backbones=[$(BACKBONES)]) $(if $(PROFILE),profile=$(PROFILE))
FLAGS = --profile profiles/local --cores $(CORES) --config file=config/$(COHORT).yaml $(OVERRIDES)

# Pages start as copies of one process that has imported what most need; direct calls of Snakemake do without.
WARM := $(BIN)/python -m helpers.warm serve

# A worker has one core: two threads each would wait for one another, a small network then takes twenty times as long.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help book pdf unlock page data check audit test test-full lab bench reference clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "COHORT=$(COHORT) CORES=$(CORES) BACKBONES=ridge PROFILE=quick|cpu|paper; cohorts: $(COHORTS)"

book: .venv/ready config/$(COHORT).yaml ## run the study and build the book of a cohort
	@$(WARM) $(BIN)/snakemake book $(FLAGS) || $(BIN)/python -m helpers.workflow failures build/$(COHORT)
	@echo "The book: $(CURDIR)/build/$(COHORT)/html/index.html"

unlock: .venv/ready config/$(COHORT).yaml ## go on after a run was killed, where no other run is at work
	@$(BIN)/snakemake --unlock $(FLAGS)

page: .venv/ready ## one page with changed parameters, beside the book: PAGE=19_floors P="k=100" (RUN=A1)
	@$(BIN)/python -m helpers.workflow page $(PAGE) build/$(COHORT) $(if $(RUN),RUN=$(RUN)) $(P)

data: .venv/ready config/$(COHORT).yaml ## download what a public cohort lacks
	@$(BIN)/python -m helpers data config/$(COHORT).yaml

check: .venv/ready config/$(COHORT).yaml ## read a cohort's raw files in seconds: what is there, missing or wrong
	@$(BIN)/python -m helpers check config/$(COHORT).yaml

audit: .venv/ready ## a report card for predictions of any model: ARGS="--predictions 'pred/{section}.csv' ..."
	@$(BIN)/python -m helpers audit $(or $(ARGS),--help)

# One page of all pages, which a browser prints: links within it lead on, and nothing has to be joined.
pdf: book ## the book as one PDF, by chromium
	@command -v chromium >/dev/null || { echo "no chromium on the path: install it, or print pages of the book from a browser"; exit 1; }
	@rm -rf build/$(COHORT)/pdf
	@$(BIN)/jupyter-book build build/$(COHORT)/book --config build/$(COHORT)/book/_config.yml \
	  --path-output build/$(COHORT)/pdf --builder custom --custom-builder singlehtml --quiet >/dev/null
	@chromium --headless --no-sandbox --disable-gpu --no-pdf-header-footer --virtual-time-budget=60000 \
	  --print-to-pdf=build/$(COHORT)/$(COHORT).pdf file://$(CURDIR)/build/$(COHORT)/pdf/_build/singlehtml/00_answer.html 2>/dev/null
	@rm -rf build/$(COHORT)/pdf
	@echo "The book as a PDF: $(CURDIR)/build/$(COHORT)/$(COHORT).pdf"

test: .venv/ready ## the tests
	$(BIN)/ruff check src tests scripts notebooks
	$(ONE_THREAD) $(BIN)/pytest -m "not full" -n $(CORES) --dist loadfile --no-loadscope-reorder

test-full: .venv/ready ## the slow tests too
	$(BIN)/pytest

lab: .venv/ready ## JupyterLab at the start notebook; makes the toy first, which the notebooks read
	@test -f build/toy/html/index.html || $(MAKE) book COHORT=toy
	cd notebooks && ../$(BIN)/jupyter lab start.ipynb

bench: .venv/ready ## speed and memory, side by side with plain implementations, and what each page of the book took
	$(BIN)/python scripts/bench.py
	@$(BIN)/python -m helpers.workflow times build/$(COHORT)

# The tables behind every panel, with their provenance, from build/ into data/results/.
reference: book ## commit-ready tables of a reference run
	@$(WARM) $(BIN)/snakemake reference --forcerun reference $(FLAGS)

clean: ## remove build/ and what Snakemake remembers
	rm -rf build .snakemake

COHORTS = $(filter-out schema template,$(patsubst config/%.yaml,%,$(wildcard config/*.yaml)))

config/%.yaml:
	@echo "no cohort '$*': there is no $@. Known: $(COHORTS); a new one starts from config/template.yaml" >&2; exit 2

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in [(3, 11), (3, 12)] and f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "Setting up .venv (about 7 GB, a minute or two on a fast line)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
