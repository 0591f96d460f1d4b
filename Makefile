# `make` or `make help` lists what there is. Needs Rust, a C compiler and Python 3 with venv; the rest is fetched, pinned, into .venv/ and target/.
#
# The AWS SDK takes minutes to compile, so everything resolves the same features of what it stands on. `cargo test` adds those of the tests;
# `cargo build` does only beside ec2-emulator, which asks for them too. So build the function for this machine by `make compile-programs`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),target)
FUNCTION := $(TARGET)/debug/ami-warden
EMULATOR := $(TARGET)/debug/ec2-emulator
RIE := $(TARGET)/demo/aws-lambda-rie
TOOLS := $(TARGET)/tools/bin
CHROMIUM ?= /usr/bin/chromium
RUST := benches cli core ec2-emulator fuzz proof src tests
DEMO := $(PYTHON) demo/demo.py --function $(FUNCTION) --emulator $(EMULATOR) --rie $(RIE)

# Nothing here needs an AWS account, so nothing here is shown one.
unexport AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_EC2
export AWS_EC2_METADATA_DISABLED := true
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(SAY) TEXT: what happens next.
SAY := printf '\n==> %s\n'

# $(call beat,WHAT): a sign of life every half minute, where Cargo shows no progress bar of its own.
beat = if [ ! -t 2 ] || [ -n "$${CI:-}" ]; then \
		( seconds=0; while sleep 30 >/dev/null 2>&1; do seconds=$$((seconds + 30)); echo "    still $(1): $$seconds s"; done ) & \
		trap "kill $$! 2>/dev/null || true" EXIT; \
	fi

.PHONY: help
help: ## This list
	@echo 'make TARGET, where TARGET is one of'
	@echo
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | awk -F '\t' '{ printf "  %-24s %s\n", $$1, $$2 }'

# --- See it work ------------------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(RIE) compile-programs ## Run the function on this machine and show what it does with nine images (Linux; DETAILS=1 shows all of it)
	@$(SAY) 'running the demo: an emulated EC2 and Lambda, the events of events/ (2 s)'
	@$(DEMO) $(if $(DETAILS),--details)

.PHONY: invoke
invoke: event-is-named $(RIE) compile-programs ## The same world, one event: make invoke EVENT=events/look.json (Linux)
	@$(DEMO) --event '$(EVENT)'

# Asked before anything is compiled.
.PHONY: event-is-named
event-is-named:
	@if [ ! -f '$(EVENT)' ]; then echo '$(if $(EVENT),There is no file $(EVENT).,Which event?) make invoke EVENT=FILE, where FILE may be one of'; ls events/*.json; exit 1; fi

# --- Test -------------------------------------------------------------------------------------------------------------------------------

.PHONY: test
test: .venv/template/.done .venv/moto/.done .venv/node/.done ## All tests
	@$(MAKE) --no-print-directory test-all test-moto lint-template
	@$(SAY) 'all tests passed'

.PHONY: test-core
test-core: ## The core alone: seconds
	@$(SAY) 'testing the core (a minute the first time, then seconds)'
	@cargo test --locked --no-fail-fast --package ami-warden-core

.PHONY: test-all
test-all: compile
	@$(SAY) 'testing everything, end to end over HTTP against the EC2 emulator'
	@$(call beat,testing); cargo test --locked --no-fail-fast --workspace

.PHONY: test-moto
test-moto: compile-programs .venv/moto/.done ## Launch permissions against stock moto, a second opinion
	@$(SAY) 'testing launch permissions against stock moto, a second opinion'
	@AMI_WARDEN_BINARY='$(abspath $(FUNCTION))' .venv/moto/bin/python tests/moto/run.py

.PHONY: lint-template
lint-template: .venv/template/.done .venv/node/.done ## The SAM template, its event patterns and policies, the schema of rules, the scripts of deploy/
	@$(SAY) 'testing the template, its event patterns, the policies of deploy/iam/ and the scripts of deploy/'
	@$(call beat,testing); .venv/template/bin/python -m pytest -q -p no:cacheprovider deploy/tests

.PHONY: lint-template-mutations
lint-template-mutations: .venv/template/.done ## Break the template on purpose and see that lint-template notices (a quarter of an hour)
	@.venv/template/bin/python deploy/tests/mutations.py

.PHONY: lint-deploy
lint-deploy: .venv/template/.done .venv/lint/.done .venv/cdk/.done ## checkov, cdk-nag, cfn-lint and zizmor: each finding fixed or accepted; the CDK example (needs npm)
	@$(SAY) 'asking the linters of templates and workflows (a minute)'
	@.venv/template/bin/python deploy/tests/linters.py --lint .venv/lint --cdk .venv/cdk
	@.venv/template/bin/python deploy/tests/cdk_example.py --cdk .venv/cdk

.PHONY: plan
plan: compile-plan ## The plan command, for your own account
	@$(TARGET)/debug/ami-warden-plan --version
	@echo 'Run $(TARGET)/debug/ami-warden-plan --help'

.PHONY: browser
browser: compile-page .venv/browser/.done ## Open the page of ami-warden-plan --html in a browser: click, search, print (needs chromium and npm)
	@command -v '$(CHROMIUM)' >/dev/null || { echo '$(CHROMIUM) is not there. On Debian: apt install chromium; elsewhere set CHROMIUM' >&2; exit 1; }
	@$(SAY) 'opening the page of ami-warden-plan in a browser (half a minute)'
	@cargo test --locked --quiet --workspace --test page
	@CHROMIUM='$(CHROMIUM)' node cli/tests/browser/check.mjs .venv/browser '$(TARGET)/tmp/page.html' $(SCREENSHOTS)

.PHONY: pictures
pictures: $(RIE) compile-programs compile-page .venv/browser/.done .venv/pictures/.done ## Draw the pictures of the README anew, from real runs: docs/demo.svg, docs/access.png (needs chromium and npm)
	@command -v '$(CHROMIUM)' >/dev/null || { echo '$(CHROMIUM) is not there. On Debian: apt install chromium; elsewhere set CHROMIUM' >&2; exit 1; }
	@$(SAY) 'drawing the demo and the access page'
	@.venv/pictures/bin/python demo/picture.py docs/demo.svg 'make demo' $(DEMO)
	@cargo test --locked --quiet --workspace --test page
	@CHROMIUM='$(CHROMIUM)' node cli/tests/browser/picture.mjs .venv/browser '$(TARGET)/tmp/page.html' docs/access.png

.PHONY: e2e
e2e: compile-programs .venv/template/.done .venv/sam/.done ## sam build, sam deploy to an emulated account, events through the deployed rules
	@$(SAY) 'building as SAM does: the AWS SDK once more, optimised (10 minutes the first time), then deploying to an emulated account'
	@$(call beat,building and deploying); .venv/template/bin/python deploy/tests/e2e.py --sam .venv/sam/bin/sam --emulator $(EMULATOR)

.PHONY: e2e-release
e2e-release: compile-emulator .venv/template/.done ## The files of a release alone, in an empty folder, deployed to an emulated account: make e2e-release FILES=target/release-files
	@$(call beat,deploying); .venv/template/bin/python deploy/tests/e2e.py --release '$(FILES)' --emulator $(EMULATOR)

# --- Check ------------------------------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: ## Formatting, clippy and the documentation of the code
	@$(SAY) 'cargo fmt --check'
	@cargo fmt --all --check
	@$(SAY) 'comments of more than 100 columns, which rustfmt leaves alone (a link may be longer)'
	@! LC_ALL=C.UTF-8 grep -rnE --include='*.rs' --exclude-dir=target '^.{101}' $(RUST) | grep -E '^[^:]+:[0-9]+: *//[/!]? +[^ ]+ '
	@$(SAY) 'cargo clippy (the AWS SDK is checked once more the first time: some minutes)'
	@$(call beat,checking); cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo clippy --locked --no-default-features --all-targets -- -D warnings
	@$(SAY) 'cargo doc'
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --quiet --no-deps --workspace

.PHONY: check
check: lint test budgets browser demo e2e ## What CI runs first: lint, test, budgets, browser, demo, e2e. In jobs of their own: lint-deploy, deny
	@$(SAY) 'all checks passed'

# --- Build ------------------------------------------------------------------------------------------------------------------------------

# $(call compile,WHAT): says how long it takes, and compiles.
compile = if compgen -G '$(TARGET)/debug/deps/libaws_sdk_ec2-*.rmeta' >/dev/null; then $(SAY) 'compiling'; \
	else $(SAY) 'compiling: the AWS SDK for EC2 takes about 6 minutes the first time, on two cores'; fi; \
	$(call beat,compiling); cargo $(1)

# The function and the EC2 emulator, without any test.
.PHONY: compile-programs
compile-programs:
	@$(call compile,build --locked --package ami-warden --package ec2-emulator)

# Without the SDK: under a minute.
.PHONY: compile-emulator
compile-emulator:
	@cargo build --locked --package ec2-emulator

.PHONY: compile-plan
compile-plan:
	@$(call compile,build --locked --package ami-warden-plan --package ec2-emulator)

# The test that writes the page of `ami-warden-plan --html`.
.PHONY: compile-page
compile-page:
	@$(call compile,test --locked --workspace --test page --no-run)

# The programs and all tests.
.PHONY: compile
compile:
	@$(call compile,test --locked --workspace --no-run)

.PHONY: build
build: .venv/build/.done ## The release zip for Lambda (ARCH=arm64 for Graviton)
	@$(SAY) 'building for Lambda: the AWS SDK once more, optimised (5 minutes or more the first time)'
	@PATH="$$PWD/.venv/build/bin:$$PATH"; $(call beat,building); \
	cargo lambda build --locked --release --output-format zip $(if $(filter arm64,$(ARCH)),--arm64)
	@ls -l $(TARGET)/lambda/ami-warden/bootstrap.zip

# The zips are the same for the same commit, whenever and wherever they are made; SHA256SUMS says which they are.
.PHONY: release
release: .venv/build/.done .venv/template/.done $(TOOLS)/cargo-cyclonedx ## The files of a release: make release VERSION=0.2.0 (20 minutes or more the first time)
	@rm -rf $(TARGET)/release-files
	@$(SAY) 'building both architectures: the AWS SDK twice, optimised'
	@$(call beat,building); .venv/template/bin/python deploy/release.py --version '$(VERSION)' --output $(TARGET)/release-files \
		--cargo-bin .venv/build/bin --cargo-bin $(TOOLS)

.PHONY: demo-arm64
demo-arm64: $(RIE) compile-emulator ## The demo with an arm64 function: make demo-arm64 ZIP=FILE (needs qemu-user and libc6-arm64-cross)
	@command -v qemu-aarch64 >/dev/null || { echo 'On Debian and Ubuntu: apt install qemu-user libc6-arm64-cross' >&2; exit 1; }
	@mkdir -p $(TARGET)/demo/arm64 && $(PYTHON) -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("bootstrap", sys.argv[2])' '$(ZIP)' $(TARGET)/demo/arm64
	@chmod +x $(TARGET)/demo/arm64/bootstrap
	@printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu %s\n' '$(abspath $(TARGET))/demo/arm64/bootstrap' > $(TARGET)/demo/arm64/function
	@chmod +x $(TARGET)/demo/arm64/function
	@$(SAY) 'running the demo with an arm64 function'
	@$(PYTHON) demo/demo.py --function $(TARGET)/demo/arm64/function --emulator $(EMULATOR) --rie $(RIE)

# --- Measure ----------------------------------------------------------------------------------------------------------------------------

BENCH_OPTIONS ?=
.PHONY: bench
bench: build .venv/bench/.done $(RIE) ## Cold start, warm time and memory beside boto3, Cloud Custodian and a function that calls nothing (10 minutes, after the build)
	@$(SAY) 'building the floor and the EC2 emulator, if need be'
	@PATH="$$PWD/.venv/build/bin:$$PATH"; $(call beat,building); \
	cargo lambda build --locked --release --output-format zip --package floor; \
	cargo lambda build --locked --release --package ec2-emulator --features tls
	@$(SAY) 'measuring; leave the machine alone meanwhile'
	@.venv/bench/bin/python benches/cold_start/bench.py --function $(TARGET)/lambda/ami-warden/bootstrap.zip \
		--floor $(TARGET)/lambda/floor/bootstrap.zip --emulator $(TARGET)/lambda/ec2-emulator/bootstrap --rie $(RIE) \
		--venvs .venv --picture $(TARGET)/cold-start.svg $(BENCH_OPTIONS)

.PHONY: budgets
budgets: ## Count the instructions of the pure core, and fail where there are more than there may be (needs valgrind)
	@$(SAY) 'counting instructions of the pure core'
	@cargo bench --locked --quiet --no-default-features --bench instructions

.PHONY: bench-sweep
bench-sweep: .venv/build/.done .venv/sweep/.done ## How fast a sweep is against EC2's limits, its memory, and the same by boto3 and Cloud Custodian (20 minutes, after the build; TABLE=limits, memory or peers)
	@$(SAY) 'building the function as it is deployed, if need be'
	@PATH="$$PWD/.venv/build/bin:$$PATH"; $(call beat,building); cargo lambda build --locked --release --bin ami-warden
	@$(SAY) 'measuring'
	@AMI_WARDEN_BINARY="$(abspath $(TARGET))/lambda/ami-warden/bootstrap" SWEEP_PYTHON="$(abspath .venv/sweep/bin/python)" \
	cargo bench --locked --no-default-features --bench sweep -- $(TABLE)

.PHONY: soak
soak: compile-programs ## Ten minutes of mixed events and random faults (SOAK_SECONDS, SOAK_SEED): memory flat, every image right
	@$(SAY) 'a soak'
	@AMI_WARDEN_BINARY="$(abspath $(FUNCTION))" cargo bench --locked --no-default-features --bench soak

# --- Prove ------------------------------------------------------------------------------------------------------------------------------

.PHONY: proof
proof: compile ## The tests behind docs/proof.md, with a line for what each of them tried
	@$(SAY) 'proving'
	@cargo test --locked --workspace --lib --test e2e --test interleavings --test model --test documents -- --nocapture 2>&1 \
		| tee $(TARGET)/proof.log | grep --line-buffered -oE '^test result: .*|proof: .*|.*(panicked|FAILED|^error).*'
	@$(SAY) 'exploring the model (a minute, after compiling)'
	@cargo run --locked --quiet --release --manifest-path proof/Cargo.toml --target-dir $(TARGET)/proof | tee -a $(TARGET)/proof.log

SECONDS_EACH ?= 30
.PHONY: fuzz
fuzz: $(TOOLS)/cargo-fuzz ## Fuzz what reads foreign text, SECONDS_EACH=30 for each of four targets (needs a nightly compiler)
	@PATH="$$PWD/$(TOOLS):$$PATH" bash fuzz/run.sh $(SECONDS_EACH)

# What the tests beside the code miss is tried again with those above them.
.PHONY: mutants
mutants: $(TOOLS)/cargo-mutants ## Break the code in every small way and see that a test fails: hours; ROOM=core/src/decide for a folder or file
	@if [ ! -e '$(or $(ROOM),.)' ]; then echo 'There is no $(ROOM). ROOM is a folder or a file, for example core/src/decide' >&2; exit 1; fi
	@export PATH="$$PWD/$(TOOLS):$$PATH" PROPTEST_CASES=100 CARGO_PROFILE_DEV_DEBUG=0; \
	mutants() { cargo mutants --package ami-warden-core --package ami-warden --output $(TARGET) \
		$(if $(ROOM),--file '$(ROOM:%/=%)' --file '$(ROOM:%/=%)/**') $(MUTANTS_OPTIONS) "$$@"; }; \
	mutants || mutants --iterate -- --package=ami-warden --test=interleavings --test=messages --test=model --test=rules

.PHONY: deny
deny: $(TOOLS)/cargo-deny ## Licences, sources and banned crates of all dependencies (CHECKS=advisories: known vulnerabilities)
	@PATH="$$PWD/$(TOOLS):$$PATH" cargo deny --locked check $(or $(CHECKS),bans licenses sources)

.PHONY: clean
clean: ## Remove what the other targets made, except the compiled code
	rm -rf .venv .aws-sam $(TARGET)/demo
	@echo "Kept: $(TARGET)/, since compiling the AWS SDK takes minutes. \`cargo clean\` removes it."

# --- Tools ------------------------------------------------------------------------------------------------------------------------------

$(TOOLS)/cargo-cyclonedx: TOOL_VERSION := 0.5.9
$(TOOLS)/cargo-deny: TOOL_VERSION := 0.20.2
$(TOOLS)/cargo-fuzz: TOOL_VERSION := 0.13.2
$(TOOLS)/cargo-mutants: TOOL_VERSION := 27.1.0
$(TOOLS)/cargo-%:
	@$(SAY) 'installing $(@F) $(TOOL_VERSION) into $(TARGET)/tools (some minutes)'
	@cargo install --quiet --locked --root $(TARGET)/tools --version $(TOOL_VERSION) $(@F)

# One environment for each concern: some pin different versions of the same package.
venv = $(SAY) 'setting up $(1) ($(2))'; \
	rm -rf $(1); \
	$(PYTHON) -m venv $(1) || { echo 'Python cannot make virtual environments here. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }

.venv/template/.done: deploy/tests/requirements.txt
.venv/moto/.done: tests/moto/requirements.txt
.venv/bench/.done: benches/cold_start/requirements.txt
.venv/sweep/.done: benches/sweep/requirements.txt
.venv/sam/.done: deploy/tests/requirements-sam.txt
.venv/lint/.done: deploy/tests/requirements-lint.txt
.venv/pictures/.done: demo/requirements-picture.txt
.venv/template/.done .venv/moto/.done .venv/bench/.done .venv/sweep/.done .venv/sam/.done .venv/lint/.done .venv/pictures/.done: .venv/%/.done:
	@$(call venv,.venv/$*,a minute)
	@.venv/$*/bin/pip install --quiet -r $<
	@touch $@

.venv/cdk/.done: $(addprefix deploy/tests/cdk/,package.json package-lock.json .npmrc nag.mjs) deploy/cdk/ami-warden.mjs
	@command -v npm >/dev/null || { echo 'npm is not installed. On Debian and Ubuntu: apt install nodejs npm' >&2; exit 1; }
	@$(SAY) 'installing the CDK and cdk-nag into $(@D) (200 MB)'
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --silent
	@touch $@

.venv/browser/.done: $(addprefix cli/tests/browser/,package.json package-lock.json .npmrc)
	@command -v npm >/dev/null || { echo 'npm is not installed. On Debian and Ubuntu: apt install nodejs npm' >&2; exit 1; }
	@$(SAY) 'installing what drives the browser into $(@D) (seconds)'
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --silent
	@touch $@

.venv/node/.done: $(addprefix deploy/tests/iam-simulation/,package.json package-lock.json .npmrc)
	@command -v npm >/dev/null || { echo 'npm is not installed. On Debian and Ubuntu: apt install nodejs npm' >&2; exit 1; }
	@$(SAY) 'installing the engine that judges policies into $(@D) (seconds)'
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --silent
	@touch $@

.venv/build/.done: deploy/tests/requirements-sam.txt
	@$(call venv,.venv/build,under a minute)
	@.venv/build/bin/pip install --quiet --constraint $< cargo-lambda
	@touch $@

$(RIE): demo/rie.py deploy/tests/requirements-sam.txt
	@$(call venv,.venv/demo,seconds)
	@$(SAY) 'fetching the Lambda Runtime Interface Emulator (a wheel of 8 MB)'
	@.venv/demo/bin/python demo/rie.py $@
