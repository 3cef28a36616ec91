# List the recipes.
default:
    @just --list

# Format Python and Rust.
fmt:
    uv run ruff format
    uv run ruff check --fix
    cargo fmt --all

# Lint Python and Rust.
lint:
    uv run ruff check
    uv run ruff format --check
    cargo fmt --all --check
    cargo clippy --locked --release --all-targets --features python -- -D warnings
    cargo clippy --locked --release --all-targets -- -D warnings

# Check types with pyright and pyrefly.
type:
    uv run pyright
    uv run pyrefly check

# Run the tests that take seconds.
test *args:
    uv run pytest {{ args }}

# Run every test, also the slow ones, and the Rust tests.
test-all *args:
    cargo test --locked --release
    uv run pytest -m "slow or not slow" {{ args }}

# Measure: TPC-H at scale factor 1, or `just bench --scale 0.1`.
bench *args:
    uv run python benchmarks/tpch.py {{ args }}

# Write the error index, and check every Python block, link and docstring example.
docs:
    uv run python tests/support/error_index.py
    uv run pytest tests/docs
    uv run pytest packages crates examples -k "src or python"

export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", env("XDG_CACHE_HOME", home_directory() / ".cache") / "freshlake" / "target")
