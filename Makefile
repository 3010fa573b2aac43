# emostream: `make` lists the targets. All of them use .venv, which `make setup` makes from the lock file.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PY := .venv/bin/python
STAMP := .venv/.installed
TRAIN_STAMP := .venv-train/.installed
PEERS_STAMP := .venv-peers/.installed
NODE_STAMP := dashboard/node_modules/.package-lock.json
LOCK := requirements/runtime.txt requirements/build.txt requirements/dev.txt requirements/train.txt \
	requirements/peers.txt

# Recipes read these as shell variables, so their values may contain any characters.
export POSTS SOURCE PYTEST_ARGS DEMO_ARGS SOAK_ARGS PYTHON CURDIR

# If the checkout was moved or the interpreter removed, .venv is made again.
ifneq ($(shell $(PY) -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help
help: ## Show this list
	@echo "emostream: live emotion statistics from a Kafka stream of social posts"
	@echo
	@echo "Start here:   make demo            everything on this machine, in a few minutes; no Docker"
	@echo "              make test            all tests, on real servers"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target text; do \
		printf '  make %-14s %s\n' "$$target" "$$text"; done
	@echo
	@echo "Options:      make demo POSTS=my_posts.csv         use your own posts: .jsonl, .csv, .tsv or .txt"
	@echo "              make demo SOURCE=jetstream           read the posts from a live source on this machine"
	@echo "              make demo DEMO_ARGS=--keep           leave the servers running"
	@echo "              make test PYTEST_ARGS='-k windows'   run some of the tests"
	@echo "              make setup PYTHON=python3.12         use this Python (3.11, 3.12 or 3.13)"

.PHONY: setup
setup: $(STAMP) ## Make .venv from the lock file, if it is not up to date

.PHONY: demo
demo: $(STAMP) ## Run the complete application on a few hundred posts, audit it, and draw a chart
	@.venv/bin/emostream demo $${POSTS:+--posts "$$POSTS"} $${SOURCE:+--source "$$SOURCE"} $$DEMO_ARGS

# Two test processes more than there are cores, because tests mostly wait for servers. The tests marked `alone` run
# afterwards, one by one, also if others failed. pytest exits with 5 if PYTEST_ARGS selects no test of a part. Each
# part ends at its --run-limit, with a report, before CI ends everything after 90 minutes without one.
.PHONY: test
test: $(STAMP) ## Run all tests; integration tests use real servers
	@eval "set -- $$PYTEST_ARGS" || exit 2; \
	trap 'exit 130' INT; \
	workers=$$($(PY) -c 'import os; print(min(4, 2 + (os.cpu_count() or 1)))'); \
	selected= failed=; \
	run() { \
		part=$$1; shift; $(PY) -m pytest "$$@"; code=$$?; \
		if [ $$code -ne 5 ]; then selected=1; fi; \
		if [ $$code -ne 5 ] && [ $$code -ne 0 ]; then failed="$${failed:+$$failed, and }$$part (exit code $$code)"; fi; \
	}; \
	times="--durations=25 --durations-min=5"; \
	run "the tests that run side by side" -m "not alone" --run-limit=3600 $$times \
		--numprocesses=$$workers --dist=loadfile --no-loadscope-reorder --max-worker-restart=2 "$$@"; \
	run "the tests that run alone" -m alone --run-limit=600 $$times "$$@"; \
	if [ -n "$$failed" ]; then echo "make test: failed: $$failed"; exit 1; fi; \
	if [ -n "$$selected" ]; then echo "make test: passed"; else echo "make test: no test was selected"; fi

.PHONY: chaos
chaos: $(STAMP) ## Kill, pause and roll back workers and servers for five minutes, then check every window
	@eval "set -- $$PYTEST_ARGS"; EMOSTREAM_TEST_CHAOS_SECONDS=300 EMOSTREAM_TEST_CHAOS_POSTS=200000 \
		$(PY) -m pytest tests/chaos tests/integration/test_sink_load.py tests/integration/test_backpressure.py \
		tests/integration/test_ingest_kills.py tests/integration/test_ingest_shaped.py -s "$$@"

.PHONY: lint
lint: $(STAMP) ## Check style, formatting, types and imports: ruff, mypy --strict, import-linter
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

.PHONY: format
format: $(STAMP) ## Format the code, and apply the fixes of ruff
	@.venv/bin/ruff check --fix-only .
	@.venv/bin/ruff format .

.PHONY: dashboard
dashboard: $(NODE_STAMP) ## Build the page from dashboard/ into api/static; needs Node
	@cd dashboard && npm run --silent build

# The committed page must be the build of the committed sources, byte for byte. The types and the palette of the sources
# must be those of the service.
.PHONY: check-dashboard
check-dashboard: $(STAMP) $(NODE_STAMP) ## Check the page: types, style, tests, size, and that api/static is its build
	@folder=$$(mktemp -d) || exit 1; trap 'rm -rf "$$folder"' EXIT; \
	python=$$PWD/$(PY); static=$$PWD/api/static; mkdir -p "$$folder/src/api"; \
	export PYTHONPATH="$$PWD$${PYTHONPATH:+:$$PYTHONPATH}"; \
	differs() { echo "error: $$1 is not up to date; run: $$2" >&2; exit 1; }; \
	cd dashboard || exit 1; \
	npx --no-install tsc --noEmit && npm run --silent lint && npm run --silent test || exit 1; \
	"$$python" scripts/openapi.py > "$$folder/openapi.json" || exit 1; \
	(sources=$$PWD && cd "$$folder" && node "$$sources/scripts/types.mjs" openapi.json) || exit 1; \
	cmp "$$folder/src/api/schema.d.ts" src/api/schema.d.ts || \
		differs dashboard/src/api/schema.d.ts "cd dashboard && PYTHON=../$(PY) npm run types"; \
	"$$python" scripts/palette.py > "$$folder/palette.json" && \
		"$$python" scripts/palette.py --cases > "$$folder/cases.json" || exit 1; \
	cmp "$$folder/cases.json" src/lib/palette-cases.json || \
		differs dashboard/src/lib/palette-cases.json \
			"cd dashboard && ../$(PY) scripts/palette.py --cases > src/lib/palette-cases.json"; \
	cmp "$$folder/palette.json" src/palette.json || \
		differs dashboard/src/palette.json "cd dashboard && ../$(PY) scripts/palette.py > src/palette.json"; \
	npx --no-install vite build --logLevel warn --outDir "$$folder/static" --emptyOutDir || exit 1; \
	diff -r "$$folder/static" "$$static" > "$$folder/diff" || { \
		cut -c 1-200 "$$folder/diff" | head -n 20 >&2; differs api/static "make dashboard"; }; \
	npm run --silent budget

$(NODE_STAMP): dashboard/package.json dashboard/package-lock.json
	@if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
		|| ! command -v npm > /dev/null; then \
		echo "error: the page is built with Node 20.19 or newer and its npm; found: $$(node --version 2>/dev/null \
			|| echo no node), $$(npm --version 2>/dev/null || echo no npm). Install them from https://nodejs.org or" \
			"with apt-get install nodejs npm. Nothing else needs them: the built page is in api/static." >&2; exit 1; \
	fi
	@echo "installing the packages of dashboard/package-lock.json ..."
	@cd dashboard && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

.PHONY: bench
bench: $(STAMP) ## Run all benchmarks in benchmarks/
	@shopt -s nullglob; set -- benchmarks/bench_*.py; \
	if [ $$# -eq 0 ]; then echo "no benchmarks: benchmarks/ has no bench_*.py"; fi; \
	for file; do echo "$$file"; $(PY) "$$file" || exit 1; done

.PHONY: soak
soak: $(STAMP) ## Keep a worker at full load for half an hour, and measure its memory
	@eval "set -- $$SOAK_ARGS"; \
	$(PY) benchmarks/soak.py --json .emostream/bench/soak.json --plot .emostream/bench/soak.png "$$@"

.PHONY: setup-peers
setup-peers: $(PEERS_STAMP) ## Make .venv-peers with the stream processors of benchmarks/bench_systems.py (1 GB)

.PHONY: schemas
schemas: $(STAMP) ## Write the files generated from the code: docs/schemas/, docs/settings.md, .env.example
	@$(PY) -m streams.ops.generated_files

.PHONY: setup-train
setup-train: $(TRAIN_STAMP) ## Make .venv-train with PyTorch, for models/training (5 GB)

.PHONY: test-train
test-train: $(TRAIN_STAMP) ## Run the tests of training, which need PyTorch
	@eval "set -- $$PYTEST_ARGS"; .venv-train/bin/python -m pytest tests/training "$$@"

# UPGRADE=1 moves every package to its newest version. Without it, only changes of pyproject.toml have an effect.
# The files name no package index, so pip uses the index of the machine. The hashes fix what is installed.
UV = env -u PIP_FIND_LINKS -u UV_FIND_LINKS .venv/bin/uv pip compile --no-config --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: lock
lock: | .venv/bin/uv ## Update requirements/*.txt from pyproject.toml; UPGRADE=1 for the newest versions
	@$(UV) pyproject.toml requirements/build.in --extra dev --extra bench -o requirements/dev.txt
	@$(UV) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	@$(UV) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	@$(UV) pyproject.toml requirements/build.in --extra train --extra dev -c requirements/dev.txt -o requirements/train.txt
	@$(UV) pyproject.toml requirements/build.in --extra bench-peers -o requirements/peers.txt
	@for file in $(LOCK); do echo "$$file: $$(grep -c '==' "$$file") packages"; done

.venv/bin/uv:
	@$(MAKE) --no-print-directory setup

.PHONY: clean
clean: ## Remove .venv, caches and build outputs; keep the data in .emostream/
	@rm -rf .venv .venv-train .venv-peers dashboard/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# find_python: sets $python to the first suitable interpreter, or fails with one line.
define find_python
for python in $${PYTHON:-python3.13 python3.12 python3.11 python3}; do \
	if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		>/dev/null 2>&1; then break; fi; \
	python=; \
done; \
if [ -z "$$python" ]; then \
	echo "error: no Python 3.11, 3.12 or 3.13 with its venv module was found" \
		"(tried: $${PYTHON:-python3.13 python3.12 python3.11 python3}); install one, or give its path:" \
		"make setup PYTHON=/path/to/python3" >&2; exit 1; \
fi
endef

# $(call install,VENV,LOCK FILE): makes a new environment with the packages of the lock file and the project itself.
# The output of pip goes to VENV/pip.log; after every 25th package there is a line of progress.
define install
@$(find_python); \
rm -rf $(1); \
total=$$(grep -c '==' $(2)); \
echo "installing $$total packages of $(2) into $(1) with $$("$$python" --version) ..."; \
"$$python" -m venv $(1) || exit 1; \
$(1)/bin/python -u -m pip install --disable-pip-version-check --no-input --progress-bar off --no-deps \
	--require-hashes -r $(2) 2>&1 | { n=0; while IFS= read -r line; do \
		echo "$$line" >> $(1)/pip.log; \
		case "$$line" in \
			Collecting*) n=$$((n + 1)); if [ $$((n % 25)) = 0 ]; then echo "  $$n of $$total packages fetched"; fi;; \
			Installing\ collected*) echo "  unpacking";; \
		esac; done; }; \
if [ "$${PIPESTATUS[0]}" != 0 ]; then \
	tail -n 15 $(1)/pip.log >&2; echo "error: pip failed; all of its output is in $(1)/pip.log" >&2; exit 1; \
fi; \
$(1)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps \
	--no-build-isolation -e . || exit 1; \
printf '%s\n' "$$CURDIR" > $(1)/.installed; \
echo "ready"
endef

$(STAMP): requirements/dev.txt pyproject.toml
	$(call install,.venv,requirements/dev.txt)

$(TRAIN_STAMP): requirements/train.txt pyproject.toml
	$(call install,.venv-train,requirements/train.txt)

$(PEERS_STAMP): requirements/peers.txt
	$(call install,.venv-peers,requirements/peers.txt)
