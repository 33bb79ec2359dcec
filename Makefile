# Everything below makes .venv and installs into it what it needs: Debian's own pip refuses to install elsewhere.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# LiteLLM needs an older openai than the rest is developed with: the edge to models is tested with both.
LITELLM_VENV := .venv-litellm

.PHONY: help demo test test-litellm lint benchmark clean

help:
	@echo "make demo       install and optimize a simulated traffic light (no key needed)"
	@echo "make test       install and run linters, types and all tests, those with LiteLLM as well"
	@echo "make test-litellm  only those of models, with LiteLLM and the openai that it needs"
	@echo "make benchmark  measure speed beside trace-opt"
	@echo "make clean      remove what the above made"

demo: $(VENV)/.demo
	$(BIN)/opto demo

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest
	@$(MAKE) --no-print-directory test-litellm

test-litellm: $(LITELLM_VENV)/.installed
	# What does not ask through openai or LiteLLM is the same as in the other environment.
	$(LITELLM_VENV)/bin/python -m pytest tests/llm/providers tests/llm/test_*.py \
	  -k 'LiteLLM or not (anthropic or Anthropic or Script or Ollama or AroundAClient)'

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(VENV)/.dev
	$(BIN)/python benchmarks/compare.py

clean:
	rm -rf $(VENV) $(LITELLM_VENV) .venv-benchmarks .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(LITELLM_VENV)/.installed: pyproject.toml | $(BIN)/python
	@test -x $(LITELLM_VENV)/bin/python || $(BIN)/python -m venv $(LITELLM_VENV)
	$(LITELLM_VENV)/bin/python -m pip install --quiet --editable '.[litellm,test]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "opto needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The module venv does not work. Install it (Debian: apt install python3-venv) and try again." >&2; exit 1; }
