# Makes the environment, and runs DVC, the tests and the tools in it.

VENV ?= .venv
# The first of these commands that is a Python 3.11, 3.12 or 3.13.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; \
	done)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

EXTRAS := requirements-serve.txt requirements-s3.txt requirements-ssh.txt requirements-ray.txt requirements-ocr.txt requirements-parquet.txt requirements-search.txt requirements-onnx.txt requirements-export.txt requirements-dev.txt

.PHONY: repro test unit long portable deps

repro: $(VENV)/installed .dvc/plots/offline.html
	dvc repro
	$(MAKE) --no-print-directory models/export/export.json

test: $(VENV)/installed-dev
	ruff check .
	ruff format --check .
	mypy
	pytest

# The tests of functions and classes only, which take three minutes.
unit: $(VENV)/installed-dev
	pytest -m unit

# The tests that are not part of `make test`, because each takes minutes.
long: $(VENV)/installed-dev
	pytest -m long

# Checks whether the demo pipeline gives the committed bytes on this machine.
portable: $(VENV)/installed
	python -m tools.portable

# Writes what each stage depends on into dvc.yaml and pins.yaml.
deps: $(VENV)/installed
	python -m tools.dependencies

# The model in 8 bits, which `predict` and `serve` take if they are told no other. It is no stage of the pipeline: no
# experiment needs it, and onnxruntime calibrates with other last digits on other processors.
models/export/export.json: models/bundle/config.json
	python -m sentifuse export models/bundle models/export --int8

# `dvc repro` writes it.
models/bundle/config.json:

# Lets `dvc plots` work offline. A page that the user has set is not replaced: the command fails then, and make goes on.
.dvc/plots/offline.html: $(VENV)/installed $(wildcard sentifuse/experiments/offline_plots.*)
	-python -m sentifuse offline-plots && touch $@

# pip would compile all 23,000 modules, which takes a minute; Python compiles those that it imports, unless it is told
# to write none: it would compile them in each process then, which takes three seconds.
INSTALL := pip install --quiet $(if $(PYTHONDONTWRITEBYTECODE),,--no-compile)

# With what an export and its page need: these are quick to install.
RUNTIME := requirements.txt requirements-export.txt requirements-serve.txt

$(VENV)/installed: $(RUNTIME) constraints.txt pyproject.toml
	test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt $(RUNTIME:%=--requirement %)
	$(INSTALL) --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed $(EXTRAS)
	$(INSTALL) --constraint constraints.txt $(EXTRAS:%=--requirement %)
	touch $@
