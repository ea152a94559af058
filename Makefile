# Everything is installed into .venv, through the pins of requirements/constraints.txt.
# A target installs only what it needs, and only when setup.cfg or the pins have changed.

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
PYTEST_ARGS ?=
MINUTES ?= 20
SEED ?= 1
WHERE ?= local
CHAOS_ARGS ?=
NAME ?= function
EXAMPLE_ARGS ?=
BENCHMARK_ARGS ?=

BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints.txt
INPUTS := setup.cfg pyproject.toml $(CONSTRAINTS)
# -qq shows errors, but not warnings about how this machine's pip is configured.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS)
# The package is built by the pinned setuptools of the environment, not by a second one that pip would
# fetch: constraints do not reach isolated build environments in every pip.
INSTALL := $(PIP_INSTALL) --no-build-isolation -e

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two pips in one environment would undo each other's work.
.NOTPARALLEL:

.PHONY: help venv peers benchmarks demo example test chaos lint format docs linkcheck build hooks constraints clean

help:  ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s%s\n", $$1, $$2}'
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) PYTEST_ARGS='-k name'"

$(VENV)/.created: requirements/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "axsched-hpc needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Could not create $(VENV). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP_INSTALL) pip setuptools
	@touch $@

$(VENV)/.runtime: $(VENV)/.created $(INPUTS)
	@echo "Installing axsched-hpc, Ax and PyTorch (some minutes the first time; 2 GB, or 6 GB with a CUDA build) ..."
	@$(INSTALL) .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	@echo "Installing what the tests need ..."
	@$(INSTALL) '.[report,test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the developers' tools ..."
	@$(INSTALL) '.[report,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@echo "Installing Sphinx ..."
	@$(INSTALL) '.[report,docs]'
	@touch $@

venv: $(VENV)/.runtime  ## make .venv with the package and what it needs to run
	@echo "Ready: source $(BIN)/activate"

# It sees the packages of the other one, into which nothing of it is installed.
$(PEERS)/.created: $(VENV)/.runtime requirements/benchmarks.txt
	@echo "Creating $(PEERS) with what the benchmark of throughput compares with ..."
	@$(BIN)/python -m venv $(PEERS)
	@where='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  $(BIN)/python -c "$$where" > "$$($(PEERS)/bin/python -c "$$where")/runtime.pth"
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) -r requirements/benchmarks.txt
	@touch $@

peers: $(PEERS)/.created  ## make .venv-peers: what benchmarks/throughput.py compares with
	@echo "Ready: $(PEERS)/bin/python benchmarks/throughput.py"

benchmarks: $(PEERS)/.created  ## measure performance and scale: two hours, or BENCHMARK_ARGS=--quick
	@$(PEERS)/bin/python benchmarks/suite.py $(BENCHMARK_ARGS)

demo: $(VENV)/.runtime  ## tune a real model on this machine, with live progress
	@$(BIN)/python examples/demo/tune.py

example: $(VENV)/.runtime  ## run examples/NAME.py, NAME=lammps for example; EXAMPLE_ARGS=--slurm
	@$(BIN)/python examples/$(NAME).py $(EXAMPLE_ARGS)

# Exit code 3 of install-system-packages: no test Slurm can be had here, and it has said so.
# Of six tests at a time four wait most of theirs (tests/conftest.py sees to it), so they suit two cores too;
# PYTEST_ARGS='-n 0' goes before.
test: $(VENV)/.test  ## install what the tests still need, bring up the test Slurm, run the tests
	@{ tests/install-system-packages && tests/slurm/cluster up; } || [ $$? -eq 3 ]
	$(BIN)/python -m pytest -n 6 $(PYTEST_ARGS)

chaos: $(VENV)/.test  ## kill drivers and workers for MINUTES at WHERE=local,slurm,noacct,packs,nfs3,nfs4, with SEED
	$(BIN)/python -m tests.chaos.campaign --minutes $(MINUTES) --seed $(SEED) --where $(WHERE) $(CHAOS_ARGS)

lint: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff format the code and mend what it can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## build docs/_build/html, warnings being errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Ready: docs/_build/html/index.html"

linkcheck: $(VENV)/.docs  ## follow the links that lead out of the documentation; needs the network, not in CI
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

build: $(VENV)/.test  ## build the sdist and the wheel into dist/
	$(BIN)/python -m build --no-isolation

hooks: $(VENV)/.dev  ## run the checks of `make lint` before each commit
	$(BIN)/pre-commit install

constraints:  ## write requirements/constraints.txt anew, with the newest versions that the ranges admit
	PYTHON=$(PYTHON) requirements/refresh

clean:  ## remove .venv, builds and caches
	rm -rf $(VENV) $(PEERS) build dist *.egg-info docs/_build htmlcov .coverage .coverage.*
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
