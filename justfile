# Every command that a person runs by hand. What does not fit on a line is in scripts/.
#
# The host's recipes select the whole workspace and then one target of it: so all of them ask for the same features
# of the dependencies, which are compiled once.

export CARGO_TARGET_DIR := justfile_directory() / "target"

# List the recipes
[private]
default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Run a server with the example plugins, and say what to try with it
[group('run')]
[no-exit-message]
up: _setup plugins _host
    @scripts/up

# Run the tests, or some of those that go through HTTP: `just test jobs::`
[group('test')]
test *filter: _setup _test-needs
    @{{ if filter == "" { just_executable() + " _test-parts" } else { "true" } }}
    cargo test --locked --workspace --test it -- {{ filter }}

# The same beside a busy loop on each core: what passes there passes on slower machines
[group('test')]
test-busy *filter:
    @scripts/beside-busy-loops {{ just_executable() }} test {{ filter }}

# Run the tests of builds with their files in a bucket instead of a directory, or others: `just test-s3 hooks::`
[group('test')]
test-s3 *filter: _setup _test-tools plugins _host
    @scripts/test-s3 {{ filter }}

# Measure what Elita costs beside Postgres, bare wasmtime and other queues: `just bench --only accept latency`
[group('test')]
bench *args: _setup _sshd plugins polyglot
    cargo build --locked --workspace --bins --config profile.dev.package.elita.opt-level=2
    target/debug/elita-bench {{ args }}

# Build what `just bench` measures Elita beside: extism, Ansible, and other queues, of which one needs Python and redis-server
[group('test')]
bench-peers:
    CARGO_TARGET_DIR=target/extism cargo build --release --locked --manifest-path bench/extism/Cargo.toml
    CARGO_TARGET_DIR=target/peers cargo build --release --locked --manifest-path bench/peers/Cargo.toml
    target/peers/release/peers celery --clients 1 --seconds 1
    python3 -m venv target/peers/ansible
    target/peers/ansible/bin/pip install --quiet --requirement bench/peers/ansible/requirements.txt

# Break servers and Postgres under load, and see whether a job is lost or run twice: `just chaos --seconds 120 --seed 7`
[group('test')]
chaos *args: _setup plugins
    cargo build --locked --workspace --bins
    target/debug/elita-chaos {{ args }}

# Try archives made and damaged at random against Python, for so many seconds: `just fuzz 600`
[group('test')]
fuzz seconds="30":
    ELITA_FUZZ_SECONDS={{ seconds }} cargo test --locked --workspace --lib -- archive::tests::fuzz

# Run everything that must pass before a merge
[group('check')]
check: _fmt-check lint deny sqlx-check test test-s3
    @ELITA_EXAMPLES=3 {{ just_executable() }} openapi --seed 1

# Check the OpenAPI document, clients that are made from it, and a running server against it
[group('check')]
openapi *args: plugins (polyglot "javascript") _host
    @scripts/openapi {{ args }}

# Format all Rust code
[group('check')]
fmt:
    cargo fmt --all
    cargo fmt --all --manifest-path example-plugins/Cargo.toml
    cargo fmt --all --manifest-path tests/plugins/Cargo.toml
    cargo fmt --all --manifest-path bench/peers/Cargo.toml
    cargo fmt --all --manifest-path bench/extism/Cargo.toml

# Run clippy; a warning is an error
[group('check')]
lint:
    cargo clippy --locked --workspace --all-targets -- -D warnings
    {{ plugins_natively }} cargo clippy --locked --all-targets --manifest-path example-plugins/Cargo.toml -- -D warnings
    {{ plugins_natively }} cargo clippy --locked --all-targets --manifest-path tests/plugins/Cargo.toml -- -D warnings

# Check the dependencies' licences, versions, sources and known vulnerabilities
[group('check')]
deny:
    @scripts/deny

# Check that host/.sqlx is what the queries and the migrations make
[group('check')]
sqlx-check: _postgres
    @scripts/sqlx --check

# Build the example and test plugins
[group('develop')]
plugins: _setup
    @scripts/plugins

# Build the plugins in Python, JavaScript, C and Go, or some: `just polyglot python`; `just polyglot bindings` after wit/ has changed
[group('develop')]
polyglot *languages:
    @scripts/polyglot {{ languages }}

# Start a private Postgres for development and print its URL; `just db stop` stops it
[group('develop')]
db *command: _postgres
    @scripts/dev-postgres {{ command }}

# Renew host/.sqlx, after a query or a migration has changed
[group('develop')]
sqlx: _postgres
    @scripts/sqlx

# Plugins are linted and unit-tested for this machine: that needs no wasm toolchain.
plugins_natively := "CARGO_TARGET_DIR=target/plugins"

# What the other recipes need of the machine; with nothing to do it takes a moment.
_setup: _postgres
    @scripts/wasm-toolchain

# The completion of commands is tested in these.
_shells:
    @scripts/shells

# On stderr, so that `just db` prints a URL and nothing else.
_postgres:
    @scripts/postgres >&2

# Commands by SSH are tested on it.
_sshd:
    @scripts/sshd

# And commands by Salt on this.
_salt:
    @scripts/salt

_test-tools:
    @scripts/test-tools

# Most of what is fetched waits for the network: the host is compiled meanwhile.
[parallel]
_test-needs: _host _test-fetched

_test-fetched: _test-tools plugins polyglot _shells _sshd _salt

_host:
    cargo build --locked --workspace --bin elita

_fmt-check:
    cargo fmt --all --check
    cargo fmt --all --check --manifest-path example-plugins/Cargo.toml
    cargo fmt --all --check --manifest-path tests/plugins/Cargo.toml
    cargo fmt --all --check --manifest-path bench/peers/Cargo.toml
    cargo fmt --all --check --manifest-path bench/extism/Cargo.toml

# The tests that need no running server.
_test-parts:
    cargo test --locked --workspace --doc
    cargo test --locked --workspace --lib
    {{ plugins_natively }} cargo test --locked --manifest-path example-plugins/Cargo.toml
