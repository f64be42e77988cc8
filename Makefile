# make figures   everything of the default preset (quick), in a virtual environment of its own
# make test      the test suite
# make test-cluster   tests on a SLURM of one machine, which it installs (Debian, as root) and starts
# make lint      formatting, style and types
# make schemas   the JSON schemas that editors use for config.yaml and the studies
#
# The environment is made once and kept until pyproject.toml or envs/constraints.txt change.
# More arguments for Snakemake: make figures ARGS="--config preset=small data_dir=/path"

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: figures test test-cluster lint schemas

figures: .venv/installed
	$(BIN)/snakemake --workflow-profile workflow/profiles/local $(ARGS)

test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# All of tests/cluster, and of tests/faults. With ARGS="-m ci": the part that CI runs.
test-cluster: .venv/installed-test
	$(BIN)/python tests/cluster/slurm.py install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "cluster or faults" --durations=0 \
		tests/cluster $(wildcard tests/faults) $(ARGS)

lint: .venv/installed-test
	$(BIN)/ruff check workflow tests
	$(BIN)/ruff format --check workflow tests
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy

schemas: .venv/installed
	$(BIN)/python -m forgetting schemas --root .

.venv/installed: pyproject.toml envs/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c envs/constraints.txt -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install -c envs/constraints.txt -e ".[test]"
	touch $@
