# The commands of this project. `make help` lists them.

PYTHON ?= python3
TOOLCHAIN = PYTHONPATH=deploy/local $(PYTHON) -m tridentserve_local.toolchain
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint shapes clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: ## install what the project needs, once; done by the others by themselves
	@$(TOOLCHAIN) setup

demo: setup ## a cluster on this machine, a pipeline on it, and pictures out of it
	@$(BIN)/tridentserve local demo

test: ## all tests
	@$(TOOLCHAIN) setup --keep-going
	$(BIN)/pytest

lint: ## ruff, mypy and import-linter
	@$(TOOLCHAIN) setup --keep-going
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

shapes: setup ## train the model of examples/models/shapes anew, in hours; goes on where it stopped
	PYTHONPATH=tools $(BIN)/python -m train_shapes train

clean: ## remove what was made here; what was built into the user's cache stays
	rm -rf .venv demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
	rm -f core/tridentserve/rpc/v1/*_pb2*.py*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
