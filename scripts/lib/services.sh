# The two services: their addresses, their build, their start.

# take_addresses: settings of the four listeners and of how they find each other. A variable that is set wins.
take_addresses() {
  export QUEUE_ADDR=${QUEUE_ADDR:-127.0.0.1:8080} QUEUE_OPS_ADDR=${QUEUE_OPS_ADDR:-127.0.0.1:9080}
  export BOOKING_ADDR=${BOOKING_ADDR:-127.0.0.1:8081} BOOKING_OPS_ADDR=${BOOKING_OPS_ADDR:-127.0.0.1:9081}
  for variable in QUEUE_ADDR QUEUE_OPS_ADDR BOOKING_ADDR BOOKING_OPS_ADDR; do require_free "$variable"; done
  queue=$(url_of "$QUEUE_ADDR") queue_ops=$(url_of "$QUEUE_OPS_ADDR")
  booking=$(url_of "$BOOKING_ADDR") booking_ops=$(url_of "$BOOKING_OPS_ADDR")
  export QUEUE_PUBLIC_URL=${QUEUE_PUBLIC_URL:-$queue} QUEUE_OPS_URL=${QUEUE_OPS_URL:-$queue_ops}
  export ENTRY_JWKS_URL=${ENTRY_JWKS_URL:-$queue/.well-known/jwks.json}
  export NO_PROXY=${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost
  export no_proxy=$NO_PROXY
}

build_services() {
  PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || die "cargo was not found: install Rust with rustup as the user who runs this, then try again."
  say "Building (the first time takes some minutes)"
  cargo build --release --workspace --bin queue-service --bin booking-service || die "the build failed, the compiler says why above: mend it and try again."
  binaries=${CARGO_TARGET_DIR:-target}/release
}

# start_service NAME OPS_URL: returns once it is ready to serve.
start_service() {
  launch "$1" "$binaries/$1"
  await "$1" 60 is_ready "$2" && return
  alive "$1" || die_with_log "$1" "$1 stopped at its start: mend what its lines above say, then try again."
  die_with_log "$1" "$1 was not ready within 60 s ($(curl --noproxy '*' --silent --max-time 2 "$2/readyz")): mend what that names, then try again."
}

is_ready() { curl --noproxy '*' --silent --fail --output /dev/null --max-time 2 "$1/readyz"; }

# supervise: returns only by failing, when one of the processes has died.
supervise() {
  local name
  while sleep 1; do
    for name in $(those dead); do
      die_with_log "$name" "$name died (its last lines are above) and the rest is stopped: run scripts/up again, the data in .local is kept."
    done
  done
}
