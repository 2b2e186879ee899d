# Everything a fresh machine needs is Python (3.11 or newer) and make: each target makes its own .venv and keeps it up to date.
#   make quickstart    curate noisy pairs, train, evaluate and export small reward models (runs/quickstart/)
#   make test          the tests
#   make storms        what takes long: kills of real processes, peers (the tests marked slow)
#   make lint          ruff and pyright
#   make clean         remove .venv and caches (runs/ stays)

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1# on CPU XLA allocates anew at every step: large pages spare most of the page faults

.PHONY: quickstart test storms lint clean

quickstart: .venv/core.stamp
	$(BIN)/python -m rewardjax.quickstart

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

storms: .venv/dev.stamp
	$(BIN)/python -m pytest -m slow

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rewardjax needs Python 3.11 or newer, $(PYTHON) is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv

.venv/core.stamp: setup.py | $(BIN)/python
	@echo "installing rewardjax into .venv"
	$(PIP) -e '.[curate]'
	@touch $@

.venv/dev.stamp: setup.py | $(BIN)/python
	@echo "installing rewardjax[dev] into .venv"
	$(PIP) -e '.[dev]'
	@touch $@ .venv/core.stamp
