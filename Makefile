# Iceberg Offload: every command that is typed in a checkout. `make` alone explains them.
# Needed on the machine: Python 3.10 to 3.12 with venv, make and git. No root, no Docker; the set-up brings the rest.

PYTHON ?= python3
ENVS := $(abspath $(or $(OFFLOAD_ENVS),.venv))
# The version of Airflow, 2 (2.11) or 3 (3.3). Without it, commands for a stack take the version of its state folder.
ifneq ($(AIRFLOW),)
export OFFLOAD_AIRFLOW := $(AIRFLOW)
endif
VERSION := $(or $(OFFLOAD_AIRFLOW),2)
ifneq ($(filter-out 2 3,$(VERSION)),)
$(error AIRFLOW=$(VERSION) is not supported. Use AIRFLOW=2 for Airflow 2.11, which is the default, or AIRFLOW=3 for 3.3)
endif
AIRFLOW_ENV := $(ENVS)/airflow$(filter 3,$(VERSION))/bin
DEVSTACK := $(ENVS)/devstack/bin/python -m devstack
MYPY := $(ENVS)/bootstrap/bin/mypy --cache-dir .mypy_cache
PYTEST := $(AIRFLOW_ENV)/python -m pytest
# Each worker has servers of its own. The order stays: what takes long must not be left to the end.
WORKERS ?= 2
IN_PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
UV := $(ENVS)/bootstrap/bin/uv
# The Python that made the environments stays the one in use until `make clean-all`.
BASE_PYTHON := $(or $(wildcard $(ENVS)/bootstrap/bin/python),$(PYTHON))

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## Explain the targets
	@echo "Iceberg Offload: ClickHouse to Iceberg every 15 minutes, exactly once."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: AIRFLOW (its version: 2 for 2.11 or 3 for 3.3, default 2), ONLY (a file or folder of tests, as in"
	@echo "make test-unit ONLY=tests/core/ledger), WORKERS (how many tests run in parallel, default 2),"
	@echo "PYTHON (which Python creates the environments), OFFLOAD_HOME (state folder, default .embedded),"
	@echo "OFFLOAD_ENVS (environments, default .venv), OFFLOAD_PORT_POSTGRES, OFFLOAD_PORT_CLICKHOUSE_HTTP,"
	@echo "OFFLOAD_PORT_CLICKHOUSE_NATIVE, OFFLOAD_PORT_AIRFLOW, OFFLOAD_PORT_EXPORTER (the first port to try)."

.PHONY: setup
setup: ## Create the environments under .venv, fetch the jars, find or install a Java
	@$(BASE_PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || { \
	  echo "This needs Python 3.10, 3.11 or 3.12, and '$(BASE_PYTHON)' is: $$($(BASE_PYTHON) --version 2>&1)."; \
	  echo "Install one of them and name it, for example: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12"; exit 1; }
	@$(BASE_PYTHON) -m install

.PHONY: readers
readers: setup ## Also create what only tests need: other readers of the cold tables, an S3 server and its client
	@$(BASE_PYTHON) -m install readers s3

.PHONY: s3
s3: setup ## Also fetch Iceberg's S3 client, for a warehouse in S3 (docs/production.md)
	@$(BASE_PYTHON) -m install s3

.PHONY: demo
demo: setup ## Offload 200,000 trades for real, compare both tiers, and leave the stack running
	@$(DEVSTACK) demo

.PHONY: up
up: setup ## Start PostgreSQL, ClickHouse, Airflow and the metrics exporter; safe to repeat
	@$(DEVSTACK) up --airflow

.PHONY: upgrade
upgrade: setup ## Move a stack from Airflow 2.11 to 3, with its history: make upgrade AIRFLOW=3
	@$(DEVSTACK) up --airflow --upgrade

.PHONY: status
status: setup ## Show what runs, where, and with how much memory
	@$(DEVSTACK) status

.PHONY: down
down: setup ## Stop everything that `make up` or `make demo` started; the data stays
	@$(DEVSTACK) down

.PHONY: sql
sql: setup ## Run a statement in the ClickHouse of the stack: make sql SQL="SHOW TABLES"
	@$(DEVSTACK) sql "$$SQL"

.PHONY: logs
logs: setup ## Show the last lines of every log
	@$(DEVSTACK) logs

.PHONY: env
env: setup ## Shell exports for working with the running stack: eval "$(make -s env)"
	@$(DEVSTACK) env

.PHONY: test
test: $(if $(ONLY),,lint) readers ## Every check and every test, the integration tests with the real servers included
	@$(PYTEST) $(IN_PARALLEL) $(ONLY)

.PHONY: test-unit
test-unit: setup ## The tests that start no server and no Spark: less than a minute
	@$(PYTEST) $(IN_PARALLEL) -m 'not integration and not full' $(ONLY)

.PHONY: test-integration
test-integration: readers ## The tests that start servers, Spark or Airflow
	@$(PYTEST) $(IN_PARALLEL) -m 'integration and not full' $(ONLY)

.PHONY: test-airflow
test-airflow: setup ## What depends on the Airflow version: make test-airflow AIRFLOW=3
	@$(PYTEST) $(IN_PARALLEL) $(or $(ONLY),tests/dags tests/airflow tests/install/test_airflow_version.py \
	  tests/devstack/stack/test_airflow_stack.py tests/integration/test_demo.py)

.PHONY: test-faults
test-faults: setup ## Every fault against the real job, the long ones included
	@$(PYTEST) $(IN_PARALLEL) $(or $(ONLY),tests/faults) -m 'full or not full'

.PHONY: test-faults-random
test-faults-random: setup ## Random schedules of runs, kills, resets, re-runs, late rows and compactions: N=200 SEED=1
	@OFFLOAD_SCHEDULES=$(or $(N),20) OFFLOAD_SEED=$(or $(SEED),1) $(PYTEST) \
	  tests/faults/test_random_schedules.py -m 'full or not full'

.PHONY: test-long
test-long: setup ## Tests that take up to an hour: a simulated month, wide matrices
	@$(PYTEST) -m full --ignore tests/faults $(ONLY)

# What differs between the versions of Airflow is checked where that version is installed.
CHECKED_VERSION := --always-$(if $(filter 3,$(VERSION)),true,false) AIRFLOW_V_3_0_PLUS \
  --exclude 'offload_airflow/compat/v$(if $(filter 3,$(VERSION)),2,3)/'

.PHONY: lint
lint: setup types ## Style, types, import layers and vocabulary
	@$(AIRFLOW_ENV)/ruff check .
	@$(AIRFLOW_ENV)/ruff format --check .
	@$(AIRFLOW_ENV)/python -m tools.vocabulary
	@PYTHONPATH=plugins:include/spark:. $(AIRFLOW_ENV)/lint-imports

.PHONY: types
types: setup ## Types alone, for the version of Airflow that AIRFLOW names
	@$(MYPY)/airflow$(VERSION) --python-executable $(AIRFLOW_ENV)/python $(CHECKED_VERSION) \
	  plugins/offload_core plugins/offload_ops plugins/offload_airflow monitoring tools benchmarks/parity.py
	@$(MYPY)/spark --python-executable $(ENVS)/spark/bin/python include/spark
	@$(MYPY)/devstack --python-executable $(ENVS)/devstack/bin/python \
	  --exclude 'benchmarks/(peers/(?!request)|parity)' install devstack benchmarks

.PHONY: docs
docs: setup ## Write docs/configuration.md from the models
	@PYTHONPATH=plugins:. $(AIRFLOW_ENV)/python -m tools.config_reference > docs/configuration.md

.PHONY: format
format: setup ## Format the code
	@$(AIRFLOW_ENV)/ruff check --fix .
	@$(AIRFLOW_ENV)/ruff format .

.PHONY: bench
bench: setup ## Measure the offload and what else does it, side by side: CASE=window-10m,cycle-9 ROUTE=ours,dlt RUNS=5
	@PYTHONPATH=plugins:. $(ENVS)/devstack/bin/python -m benchmarks \
	  $(if $(CASE),--case '$(CASE)') $(if $(ROUTE),--route '$(ROUTE)') $(if $(RUNS),--runs $(RUNS))

.PHONY: lock
lock: setup ## Resolve the requirements again and write the lock files
	@$(call compile,bootstrap)
	@$(call compile,../requirements.txt,,airflow2)
	@$(call compile,airflow3)
	@$(call compile,dev,-c requirements/airflow2.txt)
	@$(call compile,dev,-c requirements/airflow3.txt,dev-airflow3)
	@$(call compile,spark)
	@$(call compile,java)
	@$(call compile,devstack)
	@$(call compile,readers)
	@$(call compile,bench-pyiceberg)
	@$(call compile,bench-dlt)
	@$(call compile,bench-sling)

# A requirements file, further options, the lock file's name if it is another one.
compile = echo "requirements/$(or $(3),$(1)).txt" && UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet \
	--universal --python-version 3.10 --generate-hashes --no-annotate --no-emit-index-url \
	requirements/$(if $(filter %.txt,$(1)),$(1),$(1).in) $(2) -o requirements/$(or $(3),$(1)).txt

.PHONY: clean
clean: ## Stop the stack and delete its state folder, data included
	@if [ -x $(ENVS)/devstack/bin/python ]; then $(DEVSTACK) clean; fi

.PHONY: clean-all
clean-all: clean ## The same, and delete the environments too
	rm -rf $(ENVS)
