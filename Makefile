# One verb per command. `make` alone lists them.
PYTHON = .venv/bin/python
.PHONY: help setup check format docs lint types test example benchmarks destination constraints

help:  ## list the verbs
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 14

setup:  ## make .venv and install everything by constraints.txt
	@scripts/setup.sh dev

check: format docs lint types test  ## all that a reviewer would ask for first

format: setup  ## write the code as the style wants it
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

docs: setup  ## write the generated parts of the docs, and build them as a site in out/site
	$(PYTHON) -m scripts.update_docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict

lint: setup  ## style, without changing anything
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: setup  ## mypy, strict
	.venv/bin/mypy

test: setup  ## the tests that need no Java
	.venv/bin/pytest

example:  ## the example, end to end
	./run_local.sh

# The receiver is what the others measure with: it serves until it is stopped.
benchmarks: setup  ## every figure of the docs, measured here
	for benchmark in $$(grep -l __main__ benchmarks/*.py | grep -v receiver); do \
		$(PYTHON) -m benchmarks.$$(basename $$benchmark .py) || exit 1; done

destination: setup  ## begin a destination: make destination name=acme
	$(PYTHON) -m scripts.new_destination $(name)

constraints: ## renew constraints.txt with the newest versions that setup.py allows
	scripts/renew_constraints.sh
