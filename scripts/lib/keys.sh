# Keys and secrets for development, made once. A variable that is set already wins.

make_keys() {
  local keys=$1
  (umask 077 && mkdir -p "$keys/entry")
  export ADMIN_TOKEN=${ADMIN_TOKEN:-dev-admin} SERVICE_TOKEN=${SERVICE_TOKEN:-dev-service}
  export ENTRY_SIGNING_KEYS=${ENTRY_SIGNING_KEYS:-$keys/entry}
  export QUEUE_TOKEN_KEYS=${QUEUE_TOKEN_KEYS:-$keys/queue-tokens}
  export DEV_IDENTITY_KEY=${DEV_IDENTITY_KEY:-$keys/identity.pem}
  make_once "$keys/entry/1.pem" openssl genpkey -algorithm ed25519
  make_once "$keys/identity.pem" openssl genpkey -algorithm ed25519
  make_once "$keys/queue-tokens" openssl rand -base64 48
}

# make_once FILE COMMAND…: FILE holds what COMMAND prints; never half of it.
make_once() {
  local file=$1
  shift
  [[ -s $file ]] || { (umask 077 && "$@" >"$place/new-key") && mv "$place/new-key" "$file"; } ||
    die "openssl could not make $file: install OpenSSL 1.1.1 or newer and try again."
}
