# Everything below makes .venv and installs into it what it needs: Debian's own pip refuses to install elsewhere.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint benchmark clean

help:
	@echo "make demo       install and optimize a simulated traffic light (no key needed)"
	@echo "make test       install and run linters, types and all tests"
	@echo "make benchmark  measure speed beside trace-opt"
	@echo "make clean      remove what the above made"

demo: $(VENV)/.demo
	$(BIN)/opto demo

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(VENV)/.dev
	$(BIN)/python benchmarks/compare.py

clean:
	rm -rf $(VENV) .venv-benchmarks .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "opto needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The module venv does not work. Install it (Debian: apt install python3-venv) and try again." >&2; exit 1; }
