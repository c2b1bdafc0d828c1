# A load test: a build, a Redis and a Postgres of its own, and nothing of it stays but the report in .local/load.

# run_load TEST ARGUMENT…: ends as that test of the program `load` does.
run_load() {
  local test=$1 old
  shift
  [[ " $* " != *' --help '* && " $* " != *' -h '* ]] || exec cargo run --release --quiet --bin load -- "$test" --help
  # A run that was killed could not clean up.
  for old in .local/load/run.*; do
    run=$PWD/$old/run
    [[ ! -d $run ]] || alive owner || finish_load "$PWD/$old"
  done
  mkdir -p .local/load
  take_place "$(mktemp -d "$PWD/.local/load/run.XXXXXX")" 4000
  echo "$$ $(born $$)" >"$run/owner.pid"
  trap 'trap "" INT TERM; finish_load "$place"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  need redis postgres cc
  command -v cargo >/dev/null || die "cargo was not found: install Rust with rustup, then try again."
  cargo build --release --workspace --bin queue-service --bin booking-service --bin load
  start_redis "$place/redis"
  # Durable as by default; of the rest only what a test of a minute must not be interrupted by.
  start_postgres "$place/postgres" --max_connections=200 --max_wal_size=8GB --checkpoint_timeout=30min
  export LOAD_REDIS_URL=redis://127.0.0.1:$redis_port/ LOAD_FOLDER=$logs LOAD_RESULTS=$PWD/.local/load
  export LOAD_DATABASE_URL=postgres://postgres@127.0.0.1:$postgres_port/postgres
  LOAD_REDIS_PID=$(pid_of redis) LOAD_POSTGRES_PID=$(pid_of postgres)
  export LOAD_REDIS_PID LOAD_POSTGRES_PID
  "${CARGO_TARGET_DIR:-target}/release/load" "$test" "$@" &
  echo "$! $(born "$!")" >"$run/load.pid"
  wait "$!"
}

# finish_load FOLDER: its servers and their data go.
finish_load() {
  run=$1/run logs=$1/logs
  stop load
  stop_all
  rm -rf "$(cd -P "$1/postgres" 2>/dev/null && pwd)" "$1"
}
