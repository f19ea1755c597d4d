# Every verb sets up what it needs: a fresh clone wants nothing but Python (3.11 or later), make and the package registry.
#
#   make demo    a spoken phone call, start to end, on this machine: no key, no network
#   make test    all tests
#   make check   what the build checks: style, types, floors between rooms
#   make bench   cost, added delay and memory per call, as ratios and as a picture
#   make serve   the gateway for real calls; settings come from .env (see .env.example)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check bench serve clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.local
	@$(BIN)/voice-gateway demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest -n 2 $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python bench/run.py $(ARGS)

serve: $(VENV)/.base
	$(BIN)/voice-gateway serve $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or later is needed; $(PYTHON) is {v.major}.{v.minor}. Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# Each set holds the smaller ones, all cut from one resolution; a stamp says which set is installed.
$(VENV)/.base: requirements/base.txt
$(VENV)/.local: requirements/local.txt
$(VENV)/.dev: requirements/dev.txt

$(VENV)/.base $(VENV)/.local $(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) from $(filter requirements/%,$^) (a minute or two, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(filter requirements/%,$^)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(if $(filter %.dev,$@),$(VENV)/.local) $(if $(filter %.dev %.local,$@),$(VENV)/.base)
