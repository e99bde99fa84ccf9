# Each target sets up what it needs, and does nothing again when that is up to date.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: setup train test quick slow torture lint lab notebooks bench oracle clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.cfg setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "tfxfer needs Python 3.11 to 3.13, this is $$($(PYTHON) --version); try: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

train: setup
	$(BIN)/python -m tfxfer.train $(ARGS)

# One process a core, a file of tests in one process: what a file prepares is prepared once.
# A process that a test brought down is not replaced: the next would begin with that same test, and so on for ever.
test: setup lint
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 $(ARGS)

# The tests that train nothing; those that start TensorFlow, or draw many figures, are marked and left out.
quick: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 -p no:nbmake \
	  -m "not tensorflow and not drawing and not slow and not oracle" $(ARGS)

slow: setup
	$(BIN)/python -m pytest -m slow $(ARGS)

# Kills, full disks, damaged files and fuzzed readers; the table goes to docs/torture.md.
torture: setup
	PYTHONPATH=tests $(BIN)/python -m torture $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The lessons in JupyterLab, in the browser; it begins with lesson 00.
lab: setup $(VENV)/.notebooks
	$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_map.ipynb $(ARGS)

notebooks: setup $(VENV)/.notebooks
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=1800 notebooks/*.ipynb -p no:cacheprovider $(ARGS)

$(VENV)/.notebooks: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,notebooks]'
	@touch $@

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

oracle: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,oracle]'
	$(BIN)/python -m pytest -m oracle $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
