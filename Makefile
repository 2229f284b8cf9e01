# `make figures` and `make test` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
export CONFIG ?= config/config.yaml
VENV := .venv
BIN := $(VENV)/bin

	@$(BIN)/python -P -m reversal_curse plan "$$CONFIG" > /dev/null # refuses what Snakemake would run
	@$(BIN)/snakemake --configfile "$$CONFIG"
.DEFAULT_GOAL := help

# The package of this folder runs, also in a copy of a checkout with its environment.
export PYTHONPATH := $(CURDIR)/src

help: ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(VENV)/installed ## install the environment in .venv

$(VENV)/installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@echo "installing the environment into $(VENV) (one or two minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	@touch $@

demo: env ## train two grid points and draw one figure, in half a minute
	@$(BIN)/snakemake results/demo/figures/demo.png --configfile config/demo.yaml
	@echo "results/demo/figures/demo.png: facts are learned in one order (blue: their loss)."
	@echo "The autoregressive model never learns the other order; masked diffusion does (orange)."

figures: env ## train the sweep of CONFIG and render every figure
