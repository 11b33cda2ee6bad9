# `make` shows what there is.

# Docker where it is, else Buildah.
ENGINE ?= $(shell command -v docker || command -v buildah)

.PHONY: help demo demo-env demo-clean test matrix soak mutants fuzz bench bench-grants image fmt sqlx baseline catalogue templates reference

help: ## Shows this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Shows the product with a simulated AWS; ONCE=1 ends after printing
	@tests/bin/demo

demo-env: ## Prints what a shell needs to talk to the running demo: eval "$$(make -s demo-env)"
	@tests/bin/demo env

demo-clean: ## Ends whatever a demo left, and removes its files
	@tests/bin/demo clean

test: ## Sets the machine up, then checks and tests everything
	tests/bin/setup
	tests/bin/check

fuzz: ## Fuzzes what reads log files, records and messages, a minute each; FUZZ_SECONDS=600 for longer
	tests/bin/setup build
	tests/bin/fuzz

bench: ## Prints how fast things are, as tables; building with optimisation takes 20 minutes
	tests/bin/setup
	cargo bench --quiet -p aws-sim --bench calls
	PATH="$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/tools/bin:$$PATH" \
		POSTGRES_OPTIONS="-c shared_buffers=2GB" tests/bin/postgres \
		cargo bench --quiet -p connector --bench sync --bench audit

bench-grants: ## Prints how fast access is given and taken away; 30 minutes beside the building
	tests/bin/setup
	PATH="$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/tools/bin:$$PATH" \
		POSTGRES_OPTIONS="-c shared_buffers=1GB" tests/bin/postgres \
		cargo bench --quiet -p connector --bench grants

image: ## Builds the image apono-connector; PLATFORM=linux/arm64 for another machine
	@test -n "$(ENGINE)" || { echo "install Docker or Buildah first"; exit 1; }
	$(ENGINE) build $(if $(PLATFORM),--platform $(PLATFORM)) --tag apono-connector .

fmt: ## Formats the code
	cargo fmt

sqlx: ## Renews .sqlx after a query or a migration has changed
	tests/bin/setup
	PATH="$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/tools/bin:$$PATH" tests/bin/postgres \
		sh -c 'DATABASE_URL="$$TEST_DATABASE_URL/connector_template" cargo sqlx prepare --workspace -- --workspace --all-targets'

catalogue: ## Writes docs/catalogue.md and docs/permissions.md from the code
	cargo run --quiet -p connector --example catalogue >docs/catalogue.md
	cargo run --quiet -p connector --example permissions >docs/permissions.md

templates: ## Writes deploy/cloudformation from the code
	cargo build --bin apono-connector
	cargo run --quiet --bin apono-connector -- cloudformation >deploy/cloudformation/management.yaml 2>/dev/null
	cargo run --quiet --bin apono-connector -- cloudformation --member >deploy/cloudformation/member.yaml

reference: ## Writes the tables of IAM actions and what limits them from AWS's reference
	tests/bin/reference

baseline: ## Accepts the present .proto files as what callers rely on
	tests/bin/setup
	"$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/venv/bin/buf" build -o proto/baseline.binpb

matrix: ## Kills and stops the daemon at every effect of giving access, in every way
	tests/bin/setup
	PATH="$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/tools/bin:$$PATH" MATRIX_WHOLE=1 tests/bin/postgres \
		cargo nextest run -p connector --test e2e --no-capture -E 'test(crash_matrix)' --profile long

soak: ## Runs random histories of giving access: SEEDS=1000, RANDOM_SEED=7 to repeat some
	tests/bin/setup
	PATH="$${XDG_CACHE_HOME:-$$HOME/.cache}/apono-connector/tools/bin:$$PATH" \
		RANDOM_STRICT=1 RANDOM_SEEDS=$(or $(SEEDS),1000) tests/bin/postgres \
		cargo nextest run -p connector --test e2e --no-capture -E 'test(random::)' --profile long

mutants: ## Plants bugs in how access is given, one at a time, and sees that the tests notice each
	tests/bin/setup
	@tests/bin/mutants
