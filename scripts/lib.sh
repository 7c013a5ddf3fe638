# What the suites share. Sourced from the repository's root.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/literllm
export CARGO_TERM_COLOR=never

# Ends a suite that cannot run here: skip "what is missing".
skip() {
  echo "$1"
  exit 77
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command whose success is one test: check "what it proves" command…
checks_passed=0 checks_failed=0
check() {
  local what=$1
  shift
  if "$@"; then
    echo "ok: $what"
    checks_passed=$((checks_passed + 1))
  else
    echo "FAILED: $what"
    checks_failed=$((checks_failed + 1))
  fi
}

# As check, for a command that ends with 77 where it cannot run: such a one counts as skipped.
checks_skipped=0
check_or_skip() {
  local what=$1
  shift
  "$@"
  case $? in
    0) check "$what" true ;;
    77)
      echo "skipped: $what"
      checks_skipped=$((checks_skipped + 1))
      ;;
    *) check "$what" false ;;
  esac
}

# Runs `cargo test` with the arguments given and adds up what it counted.
cargo_tests() {
  local log
  log=$(mktemp)
  cargo test --no-fail-fast "$@" 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]}
  local p f
  p=$(LC_ALL=C sed -nE 's/^test result: .* ([0-9]+) passed; .*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
  f=$(LC_ALL=C sed -nE 's/^test result: .* ([0-9]+) failed; .*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
  rm -f "$log"
  checks_passed=$((checks_passed + ${p:-0}))
  checks_failed=$((checks_failed + ${f:-0}))
  # It did not build, or died: that is one failure too.
  if [ "$status" -ne 0 ] && [ "${f:-0}" -eq 0 ]; then checks_failed=$((checks_failed + 1)); fi
}

# Builds the command, whose mock provider the languages' suites talk to; `LITERLLM_BIN` names another one.
build_command() {
  if [ -z "${LITERLLM_BIN:-}" ]; then
    cargo build --release --quiet -p literllm-cli || return 1
    LITERLLM_BIN=$PWD/target/release/literllm
  fi
  export LITERLLM_BIN
}

# Prints the counts that scripts/test reads, and ends the suite.
finish() {
  # On a line of its own, whatever was printed last.
  printf '\n%s\n' "$checks_passed passed, $checks_failed failed, ${1:-0} skipped"
  [ "$checks_failed" -eq 0 ]
  exit
}
