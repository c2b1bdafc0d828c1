# Background processes: started, awaited, stopped.

# launch NAME COMMAND…: in the background and in a process group of its own: Ctrl-C is ours to handle.
launch() {
  local name=$1
  shift
  set -m
  nohup "$@" </dev/null >"$logs/$name.log" 2>&1 &
  set +m
  disown
  echo "$! $(born "$!")" >"$run/$name.pid"
}

# stop NAME [SIGNAL]: asks, waits as long as a graceful stop may take, then kills.
stop() {
  if alive "$1"; then
    kill -s "${2:-TERM}" "$(pid_of "$1")" 2>/dev/null || ! alive "$1" ||
      die "$1 belongs to another user: run this as that user, or with sudo."
    local tenths=$((10 * (${SHUTDOWN_GRACE_SECONDS:-30} + 5)))
    while alive "$1" && ((tenths-- > 0)); do sleep 0.1; done
    alive "$1" && kill -s KILL "$(pid_of "$1")"
  fi
  rm -f "$run/$1.pid"
}

# await NAME SECONDS CHECK…: until CHECK succeeds; fails when NAME is dead or the time is up.
await() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  while alive "$name" && ((SECONDS < deadline)); do
    "$@" && return 0
    sleep 0.1
  done
  return 1
}

stop_all() {
  stop booking-service
  stop queue-service
  stop postgres INT # its TERM waits for clients to leave
  stop redis
}
