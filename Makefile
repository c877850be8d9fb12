# Everything here works on a machine with Python 3.11 or newer and make; `make` alone lists it.
# What is set up once is remembered: in stamp files inside .venv, and in the per-user cache for what tests/bed builds.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
CRD := crds/telegrambots.singleton.bot.yaml
GENERATED := crds deploy docs

# The first interpreter that is new enough. To choose another one: make PYTHON=/path/to/python3
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)

# Settings of the caller's shell that would send an installation elsewhere, or another Python's modules into ours.
unexport PIP_USER PIP_TARGET PIP_PREFIX PYTHONHOME PYTHONPATH

# How many control planes `make test` starts side by side: most tests wait, so this may be more than there are cores.
BEDS ?= 3

##@ Try it

.PHONY: demo
demo: control-plane bots  ## End a 409 war between real bots on a real API server; no cluster and no containers needed
	@$(PY) -m tests.demo

.PHONY: run
run: install  ## Run the operator against the current kubeconfig context; ARGS='--namespace shop' and the like
	@$(VENV)/bin/telegrambot-operator run $(ARGS)

##@ Check it

.PHONY: test
test: control-plane bots tools  ## Every test: unit, contract, model, real API server, faults, real bots (10 to 20 minutes)
	@echo "Running every test on $(BEDS) beds side by side; this usually takes 10 to 20 minutes. BEDS=1 is gentler."
	@$(PY) -m pytest -n $(BEDS) --dist worksteal tests

.PHONY: test-fast
test-fast: install  ## The tests that start no control plane: unit, contract, model (under a minute)
	@$(PY) -m pytest -q -n 2 $(wildcard tests/unit tests/contract tests/model)

.PHONY: model
model: install  ## Search every order of events through, of lock: Gate and of an election, in larger worlds than the tests (minutes)
	@$(PY) -m tests.model.election_search
	@$(PY) -m tests.model.scenes

.PHONY: lint
lint: install guard  ## Style, format, types, import contracts, and what no committed file may hold
	@failed=; for check in "ruff check ." "ruff format --check ." "mypy operator image tests/bed tests/cluster tests/demo bench/faults" "lint-imports --no-logo"; do \
	  echo "-- $$check"; $(VENV)/bin/$$check || failed="$$failed; $$check"; \
	done; test -z "$$failed" || { echo "Failed$$failed" >&2; exit 1; }

.PHONY: workflows
workflows: install  ## What GitHub runs, checked by actionlint
	@$$($(PY) -c 'from tests.bed.tools import program; print(program("actionlint"))')

.PHONY: verify
verify: generate  ## Generate again, then fail if that changed any generated file, or if one is not committed
	@git diff --exit-code -- $(GENERATED) || { echo "Generated files differ from the commit: commit what make generate wrote." >&2; exit 1; }
	@new=$$(git ls-files --others --exclude-standard -- $(GENERATED)); \
	 test -z "$$new" || { echo "Not committed: $$new" >&2; exit 1; }

.PHONY: faults
faults: control-plane bots  ## The fault table, into docs/fault-table.md; fails where a promise is broken (under 25 minutes)
	@echo "Measuring every fault; this usually takes 15 to 25 minutes."
	@$(PY) -m bench.faults

.PHONY: bench-quick
bench-quick: control-plane  ## Reaction time, memory and requests with 200 bots, beside a minimal loop (under three minutes)
	@$(PY) -m bench.quick

.PHONY: bench-admission
bench-admission: control-plane  ## What the admission policies cost: writes docs/admission-cost.md (a few minutes)
	@$(PY) -m bench.admission

##@ Build the image, and try it in kind

# Each can be given: a base image from another registry, or one that is at hand where there is none.
IMAGE ?= ghcr.io/telegrambot-operator/telegrambot-operator
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
OPERATOR_IMAGE ?= $(IMAGE):$(VERSION)
IMAGE_PYTHON ?= 3.13
BASE_IMAGE ?= python:$(IMAGE_PYTHON)-slim
BOT_IMAGE ?= telegrambot-operator-test-bots:$(VERSION)
IMAGE_ARCH ?= $(shell uname -m)
IMAGE_LIMIT := 150000000

.PHONY: wheels
wheels: install  ## What the image is made of, checked against requirements/run.lock: all that its build needs from a network
	@rm -rf dist/wheels && mkdir -p dist/wheels/own
	@$(call download,dist/wheels,-r requirements/run.lock -r requirements/pip.lock)
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist/wheels/own .

.PHONY: image
image: wheels  ## The operator's image, OPERATOR_IMAGE, out of the Python in BASE_IMAGE
	docker build --quiet -t $(OPERATOR_IMAGE) --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) .
	@size=$$(docker image inspect --format '{{.Size}}' $(OPERATOR_IMAGE)); echo "$(OPERATOR_IMAGE): $$((size / 1000000)) MB"; \
	 test $$size -lt $(IMAGE_LIMIT) || { echo "It may have $$(($(IMAGE_LIMIT) / 1000000)) MB at most." >&2; exit 1; }

.PHONY: kind-images
kind-images: image  ## The operator's image, and BOT_IMAGE with the bots and Telegram's stand-in of the tests
	@rm -rf dist/wheels-bots && mkdir -p dist/wheels-bots
	@$(call download,dist/wheels-bots,-r requirements/bots-python.lock)
	@$(call download,dist/wheels-bots,-r requirements/pip.lock)
	docker build --quiet -t $(BOT_IMAGE) --build-arg BASE_IMAGE=$(BASE_IMAGE) -f tests/cluster/Dockerfile .

KIND_ENV := KIND_CLUSTER=$(KIND_CLUSTER) KIND_NODE_IMAGE=$(KIND_NODE_IMAGE) OPERATOR_IMAGE=$(OPERATOR_IMAGE) BOT_IMAGE=$(BOT_IMAGE)

.PHONY: kind-program
kind-program: install  ## Build kind from its Go module, and print where it is: KIND=$$(make -s kind-program) uses it
	@$(PY) -m tests.cluster.kind program

.PHONY: kind-up kind-load kind-test kind-down
kind-up: install  ## A kind cluster for the tests, of KIND_NODE_IMAGE; its kubeconfig is dist/kind/kubeconfig
	@$(KIND_ENV) $(PY) -m tests.cluster.kind up

kind-load: install  ## Give it OPERATOR_IMAGE and BOT_IMAGE, which `make kind-images` builds
	@$(KIND_ENV) $(PY) -m tests.cluster.kind load

kind-test: install  ## Play the stories of tests/cluster in it, with real containers and lost nodes (10 to 15 minutes)
	@$(KIND_ENV) $(PY) -m pytest -v --cluster=kind tests/cluster

kind-down: install  ## Delete it; a cluster that `make kind-up` did not make is left alone
	@$(KIND_ENV) $(PY) -m tests.cluster.kind down

##@ Set it up

.PHONY: install
install: $(VENV)/.installed  ## A .venv with the operator and its tools, at the locked versions

.PHONY: control-plane
control-plane: install  ## The control plane of the tests: built once (5 to 10 minutes), then cached for this user
	@$(PY) -m tests.bed.controlplane

.PHONY: bots
bots: install  ## The bot libraries of the tests: installed once (about a minute), then cached for this user
	@$(PY) -m tests.bed.botenv

.PHONY: tools
tools: install  ## Helm, promtool and actionlint: built once (about 8 minutes), then cached for this user
	@$(PY) -m tests.bed.tools

.PHONY: helm
helm: install
	@$(PY) -m tests.bed.tools --quiet helm

.PHONY: clean
clean:  ## Remove what make put into this folder; the per-user cache stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find operator tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Change it

.PHONY: generate
generate: helm  ## Write the CRD, the table of metrics, and the manifests in deploy/ (from the chart) again
	@mkdir -p $(dir $(CRD))
	@$(PY) -m telegrambot_operator.api.crd >$(CRD).new || { rm -f $(CRD).new; exit 1; }
	@if cmp -s $(CRD).new $(CRD); then rm $(CRD).new; else mv $(CRD).new $(CRD); echo "Wrote $(CRD)."; fi
	@$(PY) -m telegrambot_operator.shell.metrics_table docs/metrics.md
	@$(PY) -m tests.bed.chart

.PHONY: lock
lock: $(VENV)/.uv  ## Write requirements/run.lock, dev.lock and pip.lock again; UPGRADE=1 moves every version to the newest
	@echo "Resolving; this usually takes under a minute."
	@$(COMPILE) pyproject.toml -o requirements/run.lock
	@echo pip | $(COMPILE) - -o requirements/pip.lock
	@$(COMPILE) --group test --group lint -c requirements/run.lock pyproject.toml -o requirements/dev.lock

# ---------------------------------------------------------------------------------------------------------------------

$(VENV)/.python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	  echo "This needs Python 3.11 or newer; $(if $(PYTHON),$(PYTHON) is not,none of $(PYTHONS) is). Install one or name it: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@echo "Making $(VENV) with $(PYTHON); this usually takes a few seconds."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu that needs the package python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.dependencies: requirements/dev.lock $(VENV)/.python
	@echo "Installing the locked dependencies into $(VENV); this usually takes under a minute."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.dependencies
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Wheels for the image's Python, whichever this one is: $(call download,FOLDER,REQUIREMENTS)
MANYLINUX = $(foreach n,$(shell seq 5 36),--platform manylinux_2_$(n)_$(IMAGE_ARCH)) \
  $(foreach n,1 2010 2014,--platform manylinux$(n)_$(IMAGE_ARCH))
download = $(PY) -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
  --implementation cp --python-version $(IMAGE_PYTHON) $(MANYLINUX) -d $(1) $(2)

# uv lives in an environment of its own, so that resolving cannot depend on what is installed for the operator.
# It sees no folder of local wheels: hashes of files that others cannot fetch must not get into a lock.
UV_VERSION := 0.13.9
COMPILE = env -u UV_FIND_LINKS -u PIP_FIND_LINKS $(VENV)/uv/bin/uv pip compile -q --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-header --no-annotate $(if $(UPGRADE),--upgrade)

$(VENV)/.uv: $(VENV)/.python
	@echo "Installing uv $(UV_VERSION) to resolve with; this usually takes a few seconds."
	@$(PY) -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# A package `operator` on sys.path would hide the standard library's module of that name from every program.
# Addresses of registries and paths of one machine make a clone work for one person only; a lock needs no address at all.
REGISTRIES := pypi[.]org|pythonhosted[.]org|registry[.]npmjs|registry[.]yarnpkg|proxy[.]golang[.]org|sum[.]golang[.]org
ONE_MACHINE := (^|[^[:alnum:]_.$$}~-])/(root|work|(home|Users|tmp)/[[:alnum:]_-]+)/

.PHONY: guard
guard:
	@test ! -e operator/__init__.py || { echo "operator/__init__.py must not exist: it would shadow the standard library's operator." >&2; exit 1; }
	@if git grep --untracked -nIE '$(REGISTRIES)' -- ':!Makefile'; then echo "Addresses of package registries do not belong here." >&2; exit 1; fi
	@if git grep --untracked -nIE 'https?://' -- 'requirements/*' '*.lock' '*package-lock.json'; then echo "A lock holds names, versions and hashes only." >&2; exit 1; fi
	@if git grep --untracked -nIE '$(ONE_MACHINE)' -- ':!Makefile'; then echo "Paths of one machine do not belong here." >&2; exit 1; fi

.PHONY: help
help:
	@awk -F ':.*  ## ' ' \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*  ## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
