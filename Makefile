# Every target sets the virtual environment up first when it has to.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Byte code is compiled here and now: where Python may write none later (PYTHONDONTWRITEBYTECODE), Ray's helper processes
# would compile their libraries at every start, and that takes longer than Ray waits for them.
PIP := $(BIN)/python -m pip install -qq --no-input --compile
TORCH := $(shell sed -n 's/^\(torch==.*\)$$/\1/p' constraints.txt)
RUNS := runs
FILES := platform tests dashboards

.PHONY: help setup quickstart test lint format bench soak dashboard clean

help:  ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup: $(STAMP)  ## Create the virtual environment .venv with everything

# torch comes first and alone: pip then takes the build that fits the machine and keeps it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "limbeck needs Python 3.11 or newer; try: make PYTHON=python3.11 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): once, a few minutes"
	$(PIP) $(TORCH)
	$(PIP) --constraint constraints.txt --editable '.[dev,postgresql,onnx,serve]'
	@touch $(STAMP)

# A sweep ends with 1 when trials failed: the best of the others is exported all the same.
quickstart: $(STAMP)  ## Distil a film-review classifier end to end and export the best student
	@what=search_spaces/quickstart.yaml; \
	if $(BIN)/limbeck sweeps --json --home $(RUNS) 2>/dev/null | grep -q '"name": "quickstart"'; then \
	  what="--resume quickstart"; fi; \
	$(BIN)/limbeck sweep $$what --home $(RUNS) || [ $$? -eq 1 ]
	$(BIN)/limbeck leaderboard quickstart --home $(RUNS)
	$(BIN)/limbeck export quickstart --home $(RUNS) --format hf --to $(RUNS)/quickstart-best

# Two processes: much of the time a test waits for a server or a cluster that it started.
test: $(STAMP)  ## Run the whole test suite
	$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

lint: $(STAMP)  ## Check style, types and layers
	$(BIN)/ruff check $(FILES)
	$(BIN)/ruff format --check $(FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Lay out the code and sort its imports
	$(BIN)/ruff check --fix $(FILES)
	$(BIN)/ruff format $(FILES)

bench: $(STAMP)  ## Run the benchmarks
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

soak: $(STAMP)  ## Run the long test with random kills
	$(BIN)/python -m pytest -m soak

dashboard: $(STAMP)  ## Open the dashboard on the results in runs/
	$(BIN)/limbeck dashboard --home $(RUNS)

clean:  ## Remove caches of the tools; the environment and the runs stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
