# `make figures` and `make test` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
export CONFIG ?= config/config.yaml
PROFILE ?= profiles/slurm
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help env demo figures results plan status doctor falsify check test test-battery slurm-packages browser-packages test-slurm test-gpu benchmark lint format docs clean
.DEFAULT_GOAL := help

# The package of this folder runs, also in a copy of a checkout with its environment.
export PYTHONPATH := $(CURDIR)/src

help: ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

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
	@$(BIN)/python -P -m reversal_curse plan "$$CONFIG" > /dev/null # refuses what Snakemake would run
	@$(BIN)/snakemake --configfile "$$CONFIG"

results: figures ## write docs/results.md from this run, and from that of config/medium.yaml if it is there
	$(BIN)/python docs/results.py

plan: env ## show what is trained and what is waiting
	@$(BIN)/python -P -m reversal_curse plan "$$CONFIG"

status: env ## show how far training is, here or on a cluster: ARGS=--watch
	@$(BIN)/python -P -m reversal_curse status $(ARGS) "$$CONFIG"

doctor: env ## say, on a login node, what would make CONFIG fail on this cluster: PROFILE=folder
	@$(BIN)/python -P -m reversal_curse doctor "$$CONFIG" --profile "$(PROFILE)"

falsify: env ## permute labels in the tables of CONFIG: every verdict on evidence must change
	@$(BIN)/python -P -m reversal_curse falsify --config "$$CONFIG"

check: $(VENV)/installed-test lint ## check format, types and the most important tests, in a minute
	$(BIN)/python -m pytest -n 2 -m "not slow" tests/unit

test: $(VENV)/installed-test lint ## test everything but SLURM, in about seven minutes
	$(BIN)/python -m pytest -n 2

test-battery: $(VENV)/installed-test ## change code, results and configs in hundreds of ways and count what is noticed, in minutes
	$(BIN)/python -m pytest -s tests/battery

BROWSER_PACKAGES := chromium chromium-driver

browser-packages: # what the tests of the results page need of the system (Debian, root)
	@which chromium chromedriver > /dev/null || { \
	    echo "installing $(BROWSER_PACKAGES)"; apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BROWSER_PACKAGES) > /dev/null; }

SLURM_PACKAGES := slurm-wlm slurmdbd mariadb-server munge

slurm-packages: # what `make test-slurm` needs of the system (Debian, root)
	@export PATH="$$PATH:/usr/sbin"; which slurmctld slurmdbd mariadbd munged > /dev/null || { \
	    echo "installing $(SLURM_PACKAGES)"; apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM_PACKAGES) > /dev/null; }

test-slurm: $(VENV)/installed-test slurm-packages ## test on a real SLURM, on this machine (Debian, root)
	$(BIN)/python -m pytest tests/slurm

# With the machine's own PyTorch, and no network if WHEELS is given. `GPU_DEVICE=cpu` is a rehearsal.
GPU_DEVICE ?= cuda

test-gpu: ## prove training on a GPU, in nine minutes: PYTHON=interpreter that has PyTorch, WHEELS=folder of the other packages
	@$(PYTHON) tests/gpu/environment.py $(GPU_DEVICE) $(WHEELS)
	@rm -rf results/gpu
	@.venv-gpu/bin/python -m pytest -q tests/gpu/test_stages.py --gpu-device $(GPU_DEVICE) --gpu-report results/gpu; status=$$?; \
	    [ ! -e results/gpu/hardware.json ] || cp results/gpu/hardware.json src/reversal_curse/config/; \
	    echo "results/gpu/report.md"; exit $$status

benchmark: $(VENV)/installed-test ## time training and workflow, also of the official code: OFFICIAL=folder OFFICIAL_PYTHON=interpreter
	$(BIN)/python benchmarks/page.py $(if $(OFFICIAL),--official $(OFFICIAL) --official-python $(OFFICIAL_PYTHON))

lint: $(VENV)/installed-test ## run ruff, the type checker, snakefmt and Snakemake's linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --quiet
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(VENV)/installed-test ## rewrite sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: env ## regenerate the config schema and the tables of the READMEs
	$(BIN)/python docs/generate.py

clean: ## delete the environment, keep the results
	rm -rf $(VENV)
