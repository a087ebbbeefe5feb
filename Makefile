# Everything runs in .venv, which is made on first use. Needs Python >= 3.11, make and a package registry.
# Bytecode is made when a module is first imported: most of what is installed never is. Without it every process that a test
# starts would read all of its imports as text, ten seconds each.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
SITE ?= docs/_build/site
BIN := $(VENV)/bin
SPHINX := $(BIN)/python -m sphinx -W --keep-going -q -b html
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile

.PHONY: demo test bridges fuzz mutants check types pages docs site clean

demo: $(VENV)/.run  ## watch an event-based GRU learn online (writes results/demo)
	@$(BIN)/spikertrl demo

test: $(VENV)/.test  ## laws, golden numbers, doctests, the installed wheel
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

bridges: $(VENV)/.test $(VENV)/.bridges  ## networks in JAX, PyTorch, scikit-learn, river, NeuroBench: every model; brings gigabytes
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "slow or not slow" tests/test_to_jax.py tests/test_torch_layer.py \
	  tests/test_sklearn.py tests/test_callbacks.py tests/test_event_files.py tests/test_to_neurobench.py

fuzz: $(VENV)/.test  ## random networks, damaged files, kills, threads; FUZZ=500 sets the attempts of each, FUZZ_SEED the first seed
	@$(BIN)/python -m pytest -m slow tests/fuzz -q -s

mutants: $(VENV)/.test $(VENV)/.mutants  ## faults put in by machine: which share do the tests notice? MUTANTS=30 a file, FILES="losses cost"
	@$(BIN)/python tests/mutants.py $(FILES)

check: $(VENV)/.check $(VENV)/.docs  ## lint, types, documentation without a warning (its examples are not run)
	@$(BIN)/ruff check .
	@$(MAKE) --no-print-directory --jobs=2 --output-sync types pages

types:
	@$(BIN)/pyright

pages:
	@$(SPHINX) -D plot_gallery=0 -d docs/_build/unrun docs docs/_build/unrun/html

docs: $(VENV)/.docs  ## HTML in docs/_build/html; runs the examples, each seconds
	@$(SPHINX) -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

site: docs  ## the same beside other releases, SITE=docs/_build/site: SITE/<version>, SITE/stable
	@$(BIN)/python docs/releases.py docs/_build/html $(SITE)

clean:  ## remove everything that can be made again, except results/
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/examples docs/sg_execution_times.rst .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spikertrl needs Python >= 3.11; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -qq pip; }
	@touch $@

$(VENV)/.run: setup.cfg pyproject.toml | $(VENV)/.python
	@echo "Installing spikertrl into $(VENV) (once, about a minute) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.%: setup.cfg pyproject.toml | $(VENV)/.python
	@echo "Installing spikertrl[$*] into $(VENV) (once, about a minute) ..."
	@$(PIP) --editable ".[$*]"
	@touch $@
