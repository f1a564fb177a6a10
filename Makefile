PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# With compiled modules, a process of a test starts in two thirds of the time.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest

.PHONY: demo test test-all test-rest interop interop-all lint bench soak upgrade-check fuzz audit docs lock wheel-check release-check deploy-check image-check screenshots clean

demo: $(VENV)/.runtime ## install, then export a dataset in full and by an increment
	rm -rf offtake-demo
	$(BIN)/offtake demo --data-dir offtake-demo

test: $(VENV)/.dev ## run the tests; installs the servers they need
	sh tests/install-servers.sh
	$(PYTEST)

test-all: $(VENV)/.dev ## the same with every combination of the matrices, and all examples of the searches
	sh tests/install-servers.sh
	$(PYTEST) --all

PART ?= 0/1
test-rest: $(VENV)/.dev ## what test-all adds to test, or part K of N of it: PART=K/N
	sh tests/install-servers.sh
	$(PYTEST) --rest --part $(PART)

interop: $(VENV)/.dev .interop/rest-server/.done ## tables of Iceberg's REST reference server, which Maven fetches
	$(PYTEST) -n 2 tests/interop/check_*.py

interop-all: interop .interop/spark/.done .interop/duckdb/.done ## write tests/interop/archives again, with Spark and DuckDB
	$(BIN)/python -m tests.interop.spark.archive .interop/spark/bin/python .interop/spark/jars
	$(BIN)/python -m tests.interop.duckdb.archive .interop/duckdb/bin/python

lint: $(VENV)/.dev ## style, types, layers, language
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/language.py

bench: $(VENV)/.dev ## compare with named peers, and write docs/performance.md's figures
	$(BIN)/python -m bench.performance
	$(BIN)/python -m bench.api
	$(BIN)/python -m bench.sftp
	$(BIN)/python -m bench.stores

soak: $(VENV)/.dev ## kill the processes of 500 flows for ten minutes, then read every copy back
	$(BIN)/python -m bench.soak

upgrade-check: $(VENV)/.dev ## upgrade from the last release while it works, and roll back, on both databases
	sh tests/install-servers.sh
	$(BIN)/python -m tests.upgrade_check $$(git describe --tags --abbrev=0)

fuzz: $(VENV)/.dev ## 100,000 requests, files and archives by a grammar of what goes wrong, on both databases
	sh tests/install-servers.sh
	OFFTAKE_FUZZ_REQUESTS=100000 $(PYTEST) --timeout 3600 tests/fuzz/test_hostile_*.py

screenshots: $(VENV)/.dev ## pictures of every page in every state, in the folder screenshots
	sh tests/install-servers.sh
	$(BIN)/python -m tests.web.screenshots screenshots

audit: .audit/.done ## look the pinned packages up among known vulnerabilities; needs the internet
	.audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/runtime.txt
	.audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/dev.txt

docs: $(VENV)/.dev ## write the pages that are made from code
	$(BIN)/python docs/generate.py

lock: $(VENV)/.dev ## pin the newest versions that fit, with hashes and without addresses
	$(PIP) uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--all-extras pyproject.toml requirements/build.in -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		-c requirements/runtime.txt requirements/dev.in -o requirements/dev.txt
	for pins in bench/peers/*.in bench/performance/*.in tests/interop/*/*.in requirements/audit.in requirements/deploy.in; do \
		$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
			--no-annotate "$$pins" -o "$${pins%.in}.txt" || exit 1; \
	done

wheel-check: $(VENV)/.dev ## install the wheel into a clean environment, and deliver a file with it
	PYTHON="$(PYTHON)" sh tests/wheel-check.sh

deploy-check: $(VENV)/.dev .deploy/.done ## check the files in deploy/ by hadolint, Compose, Kubernetes' schemas, systemd and nginx
	sh tests/install-servers.sh deploy
	sh tests/deploy/check.sh

image-check: ## run the steps of deploy/Containerfile's first stage in clean folders, without a container
	$(PYTHON) tests/deploy/image_steps.py

release-check: $(VENV)/.dev ## build this version, and try its wheel in a clean environment
	PYTHON="$(PYTHON)" sh tests/release-check.sh

clean:
	rm -rf $(VENV) .audit .deploy .interop dist offtake-demo

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/runtime.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(PIP) --require-hashes -r requirements/dev.txt
	touch $@

.deploy/.done: requirements/deploy.txt tests/deploy/keda/package-lock.json
	test -x .deploy/bin/python || $(PYTHON) -m venv .deploy
	.deploy/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/deploy.txt
	npm ci --prefix tests/deploy/keda --silent --no-audit --no-fund
	touch $@

.audit/.done: requirements/audit.txt
	test -x .audit/bin/python || $(PYTHON) -m venv .audit
	.audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	touch $@

# Libraries for Java: Maven fetches what pom.xml pins, and their hashes are compared with SHA256SUMS.
JARS := org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies

.interop/rest-server/.done: tests/interop/rest_server/pom.xml tests/interop/rest_server/SHA256SUMS
	sh tests/install-servers.sh java
	mvn -q -B -f $< $(JARS) -DoutputDirectory=$(CURDIR)/.interop/rest-server
	cd .interop/rest-server && sha256sum --check --quiet --strict $(CURDIR)/tests/interop/rest_server/SHA256SUMS
	touch $@

.interop/spark/.done: tests/interop/spark/spark.txt tests/interop/spark/pom.xml tests/interop/spark/SHA256SUMS
	sh tests/install-servers.sh java
	test -x .interop/spark/bin/python || $(PYTHON) -m venv .interop/spark
	.interop/spark/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	mvn -q -B -f tests/interop/spark/pom.xml $(JARS) -DoutputDirectory=$(CURDIR)/.interop/spark/jars
	cd .interop/spark/jars && sha256sum --check --quiet --strict $(CURDIR)/tests/interop/spark/SHA256SUMS
	touch $@

.interop/duckdb/.done: tests/interop/duckdb/duckdb.txt
	test -x .interop/duckdb/bin/python || $(PYTHON) -m venv .interop/duckdb
	.interop/duckdb/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@
