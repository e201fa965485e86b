# `make help` lists what there is. Everything installs what it needs into .venv and .cache, and nothing outside.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUNTIME := .venv/.runtime
ALLOCCTL := .venv/.allocctl
DEV := .venv/.dev
PACKAGES := clients/python/pyproject.toml pyproject.toml
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1|\2/' | column -t -s '|'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or later is missing: install it, or say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

$(RUNTIME): $(BIN)/python requirements-sandbox.lock $(PACKAGES)
	@echo "Installing the gateway and the sandbox into .venv ..."
	@$(PIP) install --require-hashes -r requirements-sandbox.lock
	@$(PIP) install --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

$(ALLOCCTL): $(RUNTIME) requirements-allocctl.lock
	@$(PIP) install --require-hashes -r requirements-allocctl.lock
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@echo "Installing the development tools into .venv ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# What the Python client's stubs are generated with: pyproject.toml says why it is old.
STUBS := .cache/stubs
$(STUBS)/.installed: requirements-stub-messages.lock requirements-stub-services.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 14))' \
		|| { echo "The compilers of the stubs run on Python 3.13 at the latest: say PYTHON=/path/to/python3.13" >&2; exit 1; }
	@echo "Installing the compilers of the stubs into $(STUBS) ..."
	@for kind in messages services; do \
		$(PYTHON) -m venv $(STUBS)/$$kind && $(STUBS)/$$kind/bin/pip --disable-pip-version-check --quiet \
			install --require-hashes -r requirements-stub-$$kind.lock || exit 1; \
	done
	@touch $@

.PHONY: run
run: $(ALLOCCTL) ## run the gateway and the sandbox, and print a first call
	@ALLOCATION_GATEWAY_LOG_FORMAT=$${ALLOCATION_GATEWAY_LOG_FORMAT:-console} \
		ALLOCATION_GATEWAY_SANDBOX_SHIPMENTS=$${ALLOCATION_GATEWAY_SANDBOX_SHIPMENTS:-10000} exec $(BIN)/allocation-gateway serve --sandbox

.PHONY: call
call: $(ALLOCCTL) ## make the documented allocation through a running `make run`
	@exec $(BIN)/allocctl allocate --plaintext --group valuables sp_00794403010635468411384028069888

.PHONY: wave
wave: $(ALLOCCTL) ## allocate 10,000 shipments through a running `make run`, in one stream (again: go on where it was)
	@mkdir -p build && { echo reference; seq -f 'sp_%032.0f' 10000; } > build/wave.csv
	@exec $(BIN)/allocctl allocate --plaintext --stream --file build/wave.csv

# Most tests wait for a process or a time limit: two of them wait at once. The files stay whole, as do their fixtures.
TWO_AT_ONCE := -n 2 --dist loadfile

# What has a target of its own is left out.
QUICK := not clients and not floors and not image and not chart and not cache and not bench and not workers \
	and not other_engines and not wire and not attacks and not slow and not properties and not alerts and not observe \
	and not jaeger and not faults and not docs and not e2e and not saving and not threats

.PHONY: test
test: $(DEV) $(STUBS)/.installed ## run the tests that are quick and need nothing but Python
	@$(BIN)/pytest $(TWO_AT_ONCE) -m "not long and $(QUICK)"

# The newer Pythons that the gateway supports, up to the newest that every locked package has a wheel for.
PYTHONS ?= 3.12 3.13 3.14 3.15

.PHONY: test-pythons
test-pythons: $(BIN)/python $(STUBS)/.installed ## run what `make test` does on each newer Python (PYTHONS; those that neither the PATH nor pyenv has are fetched into .cache; needs mmdebstrap for that)
	@PYTHONPATH=tests $(BIN)/python -m pythons.run $(PYTHONS) -- $(TWO_AT_ONCE) -m "not long and $(QUICK)"

# What depends on the interpreter: the arithmetic and reading of answers, tasks that are cancelled, connections.
ON_NEWEST := tests/mapping tests/writes tests/claims tests/wire

.PHONY: test-newest-python
test-newest-python: $(BIN)/python ## the part of it that depends most on the interpreter, on the newest one alone
	@PYTHONPATH=tests $(BIN)/python -m pythons.run $(lastword $(PYTHONS)) -- $(TWO_AT_ONCE) -m "not long and $(QUICK)" $(ON_NEWEST)

.PHONY: test-long
test-long: $(DEV) ## run the tests of commands, callers, clients, streams and telemetry, which need nothing but Python either
	@$(BIN)/pytest $(TWO_AT_ONCE) -m "long and $(QUICK)"

# One after the other: what is measured depends on what else runs.
.PHONY: test-slow
test-slow: $(DEV) ## run the tests that wait at length, or measure how long others wait
	@$(BIN)/pytest -m slow

.PHONY: test-properties
test-properties: $(DEV) ## try many random inputs, worlds and schedules (other ones each time, but in CI)
	@$(BIN)/pytest $(TWO_AT_ONCE) -m properties

.PHONY: test-workers
test-workers: $(DEV) ## run several workers behind one port, end them and have them replaced
	@$(BIN)/pytest -m workers tests/workers

.PHONY: test-other-engines
test-other-engines: $(DEV) ## hold the HTTP engines that were not chosen to the tests of ours (some are unsteady: not in CI)
	@$(BIN)/pytest -m other_engines tests/engines

.PHONY: test-clients
test-clients: $(DEV) ## call a running gateway through the clients, and print which keeps which case (needs go, npm, mvn, cargo, Python 3.10, and a Valkey or Redis server)
	@for tool in go npm javac mvn cargo; do command -v $$tool >/dev/null || { echo "$$tool is missing: $@ needs it" >&2; exit 1; }; done
	@$(BIN)/pytest -m clients tests/clients

.PHONY: test-floors
test-floors: $(DEV) ## try the clients with the oldest and the newest Go, Node and Java that they run with, which are fetched into .cache (needs go, npm and mvn)
	@for tool in go npm javac mvn; do command -v $$tool >/dev/null || { echo "$$tool is missing: $@ needs it" >&2; exit 1; }; done
	@$(BIN)/pytest -m floors tests/clients

# Has nginx, from the distribution if there is none. It is not in the PATH of everybody.
NEEDS_NGINX = PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends nginx-light >/dev/null; } \
	|| { echo "nginx is missing: $@ runs it" >&2; exit 1; }

# Those that take longest begin: h2spec, which mostly waits, beside the clients in other languages, which are built.
WIRE_FIRST := tests/wire/test_conformance.py tests/wire/test_languages.py
WIRE_TESTS := $(WIRE_FIRST) $(filter-out $(WIRE_FIRST),$(wildcard tests/wire/test_*.py))

.PHONY: test-wire
test-wire: $(DEV) ## attack the gRPC server of each engine at length, call it from other languages and through nginx (needs go, npm, java and cargo)
	@for tool in go npm javac mvn cargo; do command -v $$tool >/dev/null || { echo "$$tool is missing: $@ needs it" >&2; exit 1; }; done
	@$(NEEDS_NGINX)
	@$(BIN)/pytest $(TWO_AT_ONCE) --no-loadscope-reorder -m wire $(WIRE_TESTS)

# One after the other: what is measured depends on what else runs.
.PHONY: test-attacks
test-attacks: $(DEV) ## sustain attacks on the gRPC server of each engine, and print how a bystander fares (ATTACK_SECONDS, ATTACK_CONNECTIONS)
	@$(BIN)/pytest -s -m attacks tests/attacks

FUZZ := .venv/.fuzz

$(FUZZ): $(DEV) requirements-fuzz.lock
	@$(PIP) install --require-hashes -r requirements-fuzz.lock
	@touch $@

.PHONY: fuzz
fuzz: $(FUZZ) ## fuzz the gateway's own gRPC server, led by coverage, and compare it with grpcio (FUZZ_SECONDS)
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run

.PHONY: fuzz-keep
fuzz-keep: $(FUZZ) ## fuzz, and make what was found to be of interest the corpus of the repository
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --keep

.PHONY: soak
soak: $(DEV) ## call gateways in five languages, through proxies and restarts (SOAK_SECONDS; needs what test-wire does)
	@$(NEEDS_NGINX)
	@PYTHONPATH=tests $(BIN)/python -m soak.run

.PHONY: test-image
test-image: $(DEV) ## build the container image on a base from distribution packages, and run it (needs Debian, root and go)
	@command -v go >/dev/null || { echo "go is missing: test-image builds helm with it, to run the chart's pod" >&2; exit 1; }
	@$(BIN)/pytest -m image tests/image

.PHONY: test-chart
test-chart: $(DEV) ## lint, render and validate the Helm chart (needs go)
	@command -v go >/dev/null || { echo "go is missing: test-chart builds helm with it" >&2; exit 1; }
	@$(BIN)/pytest -m chart tests/chart

HELM := .cache/helm/$(shell sed -n 's/^HELM_VERSION = "\(.*\)"/\1/p' tests/support/chart.py)/helm

$(HELM): | $(DEV)
	@cd tests && ../$(BIN)/python -c 'from support.chart import helm_command; helm_command()'

# After that it is interrupted, which still tells what was found and ends all that it has started, and a minute later killed.
E2E_SECONDS ?= 1800
E2E_BUILD_SECONDS ?= 3600

.PHONY: e2e
e2e: $(DEV) $(HELM) ## install the chart on a real control plane of Kubernetes and upgrade, scale, drain and kill under load (Linux; needs go, and valkey-server or redis-server)
	@command -v go >/dev/null || { echo "go is missing: $@ builds Kubernetes with it" >&2; exit 1; }
	@$(NEEDS_STORE)
	@timeout -k 60 $(E2E_BUILD_SECONDS) nice -n 19 tests/e2e/build.sh
	@E2E_ENTERED=1 tests/e2e/enter.sh timeout --foreground -s INT -k 60 $(E2E_SECONDS) $(BIN)/pytest -m e2e tests/e2e

# Has a Valkey or Redis server, from the distribution if there is none.
NEEDS_STORE = command -v valkey-server redis-server >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } \
	|| { echo "valkey-server or redis-server is missing: $@ runs one of them" >&2; exit 1; }

.PHONY: test-cache
test-cache: $(DEV) ## share service groups and claims by a real server (needs valkey-server or redis-server)
	@$(NEEDS_STORE)
	@$(BIN)/pytest -m cache tests/groups tests/claims tests/writes tests/streams

.PHONY: test-threats
test-threats: $(DEV) ## take each defence of the threat table out, and see its tests fail (needs valkey-server or redis-server)
	@$(NEEDS_STORE)
	@$(BIN)/pytest -n 2 -m threats tests/threats

# Has Prometheus and Alertmanager, from the packages of the distribution, which are not installed: that would start servers.
# What is installed are Alertmanager's templates, which it finds nowhere else.
PROMETHEUS := .cache/prometheus/usr/bin
NEEDS_PROMETHEUS = { command -v promtool && command -v prometheus \
		&& { command -v prometheus-alertmanager || command -v alertmanager; } ; } >/dev/null \
	|| { [ -x $(PROMETHEUS)/promtool ] && [ -x $(PROMETHEUS)/prometheus-alertmanager ] \
		&& [ -e /usr/share/prometheus/alertmanager/default.tmpl ] ; } \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && mkdir -p .cache/prometheus \
		&& (cd .cache/prometheus && apt-get download -qq prometheus prometheus-alertmanager >/dev/null 2>&1 \
			&& for package in *.deb; do dpkg -x "$$package" .; done \
			&& mkdir -p /usr/share/prometheus && cp -rn usr/share/prometheus/alertmanager /usr/share/prometheus/) ; } \
	|| { echo "prometheus or alertmanager is missing: $@ runs both, and promtool" >&2; exit 1; }

# Each lane of faults has a gateway, Prometheus and Alertmanager of its own, and mostly waits.
ALL_LANES_AT_ONCE := --dist loadgroup -n

.PHONY: test-alerts
test-alerts: $(DEV) ## have every panel answered, every alert fire and clear, and each of ten faults told from the others (needs Debian and root, or prometheus and alertmanager; and a store)
	@$(NEEDS_PROMETHEUS)
	@$(NEEDS_STORE)
	@$(BIN)/pytest $(ALL_LANES_AT_ONCE) 5 -m "alerts or faults" tests/alerts tests/faults

.PHONY: test-faults
test-faults: $(DEV) ## the part of it that strikes the faults
	@$(NEEDS_PROMETHEUS)
	@$(NEEDS_STORE)
	@$(BIN)/pytest $(ALL_LANES_AT_ONCE) 4 -m faults tests/faults

.PHONY: observe
observe: $(DEV) ## run a gateway with traffic, faults and what watches it, and print what to open (needs what test-alerts does; OBSERVE_SECONDS)
	@$(NEEDS_PROMETHEUS)
	@$(NEEDS_STORE)
	@PYTHONPATH=tests:. exec $(BIN)/python -m observe.run

.PHONY: test-observe
test-observe: $(DEV) ## follow traces from callers to upstream, and look at all that `make observe` shows (needs what that does)
	@$(NEEDS_PROMETHEUS)
	@$(NEEDS_STORE)
	@$(BIN)/pytest -m observe tests/observe

# One program that is a real OpenTelemetry Collector and a Jaeger. Its versions are those of tests/observe/go.
JAEGER := .cache/jaeger/jaeger

$(JAEGER): tests/observe/go/go.mod tests/observe/go/go.sum
	@command -v go >/dev/null || { echo "go is missing: Jaeger is built with it" >&2; exit 1; }
	@echo "Building Jaeger, which at first takes some ten minutes of a core ..."
	@mkdir -p $(@D) && nice -n 19 go -C tests/observe/go build -trimpath -ldflags '-s -w' -o '$(CURDIR)/$@' \
		github.com/jaegertracing/jaeger/cmd/jaeger
	@touch $@

.PHONY: jaeger
jaeger: $(JAEGER) ## build the OpenTelemetry Collector with Jaeger that `make observe` then uses too (needs go)

.PHONY: test-jaeger
test-jaeger: $(DEV) $(JAEGER) ## send spans, metrics and log records to a real OpenTelemetry Collector, and follow traces in Jaeger (needs go, and valkey-server or redis-server)
	@$(NEEDS_STORE)
	@$(BIN)/pytest -m jaeger tests/observe

.PHONY: bench
bench: $(DEV) ## measure the gateway beside its rivals, and write docs/performance.md (needs go; about 25 minutes)
	@PYTHONPATH=tests exec "$$(bench/interpreter.sh $(BIN)/python $(BENCH_PYTHON))" -m bench.run

.PHONY: bench-streams
bench-streams: $(DEV) ## measure streams and watches beside a loop by hand in Go, and write docs/performance.md (BENCH_STREAM_ITEMS; needs go, and valkey-server or redis-server)
	@$(NEEDS_STORE)
	@exec "$$(bench/interpreter.sh $(BIN)/python $(BENCH_PYTHON))" -m bench.streams

.PHONY: bench-callers
bench-callers: $(DEV) ## measure what a call costs in each language, by client, stub and REST, and write docs/clients.md (BENCH_LANGUAGES; needs go, npm and mvn)
	@for tool in go npm javac mvn; do command -v $$tool >/dev/null || { echo "$$tool is missing: $@ needs it" >&2; exit 1; }; done
	@$(BIN)/pytest -m saving tests/bench
	@PYTHONPATH=tests $(BIN)/python -m bench.saving

.PHONY: bench-guard
bench-guard: $(DEV) ## fail if a call has become dearer than what is stored (needs go, and valkey-server or redis-server)
	@$(NEEDS_STORE)
	@PYTHONPATH=tests $(BIN)/python -m bench.guard

.PHONY: bench-guard-store
bench-guard-store: $(DEV) ## store what a call costs now as what it may cost (needs what bench-guard does)
	@$(NEEDS_STORE)
	@PYTHONPATH=tests $(BIN)/python -m bench.guard --store

.PHONY: bench-defences
bench-defences: $(DEV) ## measure what the defences of the gRPC server cost a call (needs go; on a quiet machine)
	@PYTHONPATH=tests $(BIN)/python -m bench.defences

.PHONY: test-bench
test-bench: $(DEV) ## test the benchmark's own instruments (needs go)
	@go -C bench/instruments vet ./... && go -C bench/instruments test ./...
	@$(BIN)/pytest -m bench tests/bench

.PHONY: chaos
chaos: $(DEV) ## prove under faults that nothing is done twice or lost (needs valkey-server or redis-server)
	@$(NEEDS_STORE)
	@GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=tests $(BIN)/python -m chaos.run
	@PYTHONPATH=tests $(BIN)/python -m chaos.overload

.PHONY: chaos-cluster
chaos-cluster: $(DEV) ## the same with claims on a cluster, whose slots move and of which nodes are killed (needs what chaos does)
	@$(NEEDS_STORE)
	@GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=tests $(BIN)/python -m chaos.run cluster broken-unclaimed

.PHONY: chaos-million
chaos-million: $(DEV) ## the same with a million items of streams (CHAOS_ITEMS; takes long; needs what chaos does)
	@$(NEEDS_STORE)
	@CHAOS_ITEMS=$${CHAOS_ITEMS:-1000000} GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=tests $(BIN)/python -m chaos.run three-streams

.PHONY: simulate
simulate: $(DEV) ## let a million writes happen in virtual time (SIMULATION_WRITES, SIMULATION_SEED)
	@PYTHONPATH=tests $(BIN)/python -m simulation.run

.PHONY: bench-engines
bench-engines: $(DEV) ## compare what an HTTP exchange costs with each engine (takes long)
	@PYTHONPATH=tests $(BIN)/python bench/engines.py

# What the TypeScript client is generated and built with, and where it is built.
TYPESCRIPT := .cache/typescript
$(TYPESCRIPT)/.installed: clients/typescript/package.json clients/typescript/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: the TypeScript client is built with it" >&2; exit 1; }
	@mkdir -p $(TYPESCRIPT) && cp $^ $(TYPESCRIPT)
	@cd $(TYPESCRIPT) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: dist-typescript
dist-typescript: $(TYPESCRIPT)/.installed ## build the TypeScript client's package into dist/ (needs npm; clients/typescript/README.md)
	@rm -rf $(TYPESCRIPT)/src $(TYPESCRIPT)/dist && cp -R clients/typescript/{src,tsconfig.json,README.md} $(TYPESCRIPT)
	@mkdir -p dist && cd $(TYPESCRIPT) && npm pack --silent --pack-destination ../../dist

# Maven keeps what it fetches in its own repository, as it does for everybody.
MAVEN_REPOSITORY ?= dist::file://$(CURDIR)/dist/maven

.PHONY: dist-java
dist-java: ## build the Java client's jar, sources, Javadoc and pom into dist/maven, or deploy to MAVEN_REPOSITORY=id::url (needs mvn)
	@for tool in mvn javac; do command -v $$tool >/dev/null || { echo "$$tool is missing: the Java client is built with it" >&2; exit 1; }; done
	@mvn --quiet --batch-mode --file=clients/java/pom.xml deploy -Dmaven.install.skip=true \
		-DbuildDirectory="$(CURDIR)/.cache/java" -DaltDeploymentRepository="$(MAVEN_REPOSITORY)"

.PHONY: dist-protos
dist-protos: $(DEV) ## put the contract and all that it imports into dist/protos, for stubs in other languages (docs/other-languages.md)
	@$(BIN)/python protos/generate.py contract

.PHONY: dist-python
dist-python: $(RUNTIME) ## build the Python client's wheel into dist/ (clients/python/README.md)
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist clients/python

.PHONY: dist-clients
dist-clients: dist-python dist-typescript dist-java ## build the Python client's wheel, the npm package and the Java client into dist/, for an index of your own
	@ls dist

.PHONY: lint
lint: $(DEV) ## ruff, mypy, buf, import rules, shell, YAML and Dockerfile lint
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python protos/generate.py deps
	@cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	@if [ -f protos/released.binpb ]; then cd protos && ../$(BIN)/buf breaking --against released.binpb --path allocation; fi
	@$(BIN)/shellcheck .ci/run bench/interpreter.sh
	@$(BIN)/yamllint --strict --config-file helm/yamllint.yaml protos/buf.yaml helm/allocation-gateway/values.yaml \
		helm/allocation-gateway/Chart.yaml helm/allocation-gateway/ci
	@$(BIN)/hadolint Dockerfile

.PHONY: generate
generate: $(DEV) $(TYPESCRIPT)/.installed $(STUBS)/.installed ## regenerate the stubs, and the chart's schema, table, dashboards and rules (needs go and npm)
	@$(BIN)/python protos/generate.py
	@$(BIN)/python helm/generate.py
	@$(BIN)/python -m helm.dashboards
	@$(BIN)/python -m helm.rules

.PHONY: check-generated
check-generated: generate ## fail if what is generated and committed is not what its sources give
	@git status --porcelain -- clients helm
	@test -z "$$(git status --porcelain -- clients helm)" || { echo "Stale: run make generate and commit" >&2; exit 1; }

# Its notice at each run, that mkdocs-material is maintained until May 2027 and zensical succeeds it, is known.
SITE := NO_MKDOCS_2_WARNING=1 .cache/docs/bin/mkdocs build --quiet --strict --config-file build/site-source/mkdocs.yml

.PHONY: docs-pages
docs-pages: $(DEV)
	@$(BIN)/python protos/generate.py deps descriptors
	@$(BIN)/python docs/site/pages.py

.PHONY: docs
docs: docs-pages .cache/docs/.installed ## build the documentation site, build/site/index.html, and check its links, navigation and search
	@$(SITE)
	@$(BIN)/pytest -m docs tests/docs

.PHONY: docs-serve
docs-serve: docs-pages .cache/docs/.installed ## build the documentation site, and serve it on http://127.0.0.1:8000
	@$(SITE)
	@exec $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $${DOCS_PORT:-8000}

.cache/docs/.installed: requirements-docs.lock
	@rm -rf .cache/docs && $(PYTHON) -m venv .cache/docs
	@.cache/docs/bin/pip --disable-pip-version-check --quiet install --require-hashes -r requirements-docs.lock
	@touch $@

.PHONY: format
format: $(DEV) ## format the Python and .proto files
	@$(BIN)/ruff check --fix --quiet && $(BIN)/ruff format --quiet && cd protos && ../$(BIN)/buf format --write

.cache/sbom/.installed: requirements-sbom.lock requirements.lock
	@rm -rf .cache/sbom && $(PYTHON) -m venv .cache/sbom/tool && $(PYTHON) -m venv --without-pip .cache/sbom/gateway
	@pip=".cache/sbom/tool/bin/pip --disable-pip-version-check --quiet"; \
	$$pip install --require-hashes -r requirements-sbom.lock; \
	$$pip --python .cache/sbom/gateway/bin/python install --require-hashes -r requirements.lock
	@touch $@

# As in the image: see the Dockerfile.
.PHONY: sbom
sbom: .cache/sbom/.installed ## list what the gateway is made of, as CycloneDX, in build/sbom.cdx.json
	@pip=".cache/sbom/tool/bin/pip --disable-pip-version-check --quiet --python .cache/sbom/gateway/bin/python"; \
	$$pip install --force-reinstall --no-deps --no-build-isolation ./clients/python .
	@mkdir -p build
	@.cache/sbom/tool/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
		--output-file build/sbom.cdx.json .cache/sbom/gateway/bin/python

.PHONY: lock
lock: $(DEV) ## choose the newest allowed version of every dependency
	@compile="$(BIN)/uv pip compile --upgrade --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --no-emit-package allocation-gateway-client \
		--no-emit-package allocation-gateway-sandbox"; \
	$$compile pyproject.toml --group build --output-file requirements.lock; \
	$$compile pyproject.toml --extra sandbox --group build --output-file requirements-sandbox.lock; \
	$$compile pyproject.toml --extra sandbox --group build --group dev --output-file requirements-dev.lock; \
	$$compile --group docs --output-file requirements-docs.lock; \
	$$compile --group stub-messages --output-file requirements-stub-messages.lock; \
	$$compile --group stub-services --output-file requirements-stub-services.lock; \
	$$compile --group sbom --output-file requirements-sbom.lock; \
	$$compile --group bench --output-file requirements-bench.lock; \
	$$compile --group fuzz --output-file requirements-fuzz.lock; \
	$$compile --group allocctl --output-file requirements-allocctl.lock

.PHONY: clean
clean: ## remove everything that the other targets made
	@rm -rf .venv .cache build dist protos/.deps bench/rivals/transcoded

.PHONY: release-image
release-image: $(DEV) ## write the descriptor image that later contracts must not break
	@$(BIN)/python protos/generate.py deps
	@cd protos && ../$(BIN)/buf build --path allocation --exclude-source-info --output released.binpb
