# Where everything lives: a folder of the checkout with data, keys, logs and pid files.

# take_place FOLDER MEGABYTES: sets $place, $run, $logs; refuses a folder that cannot be used.
take_place() {
  place=$1 run=$1/run logs=$1/logs
  mkdir -p "$run" "$logs" 2>/dev/null && [[ -w $place && -w $run && -w $logs ]] ||
    die "$place cannot be written by $(id -un): run this as the user who owns it, or remove that folder."
  local free_megabytes
  free_megabytes=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1024) }')
  ((free_megabytes >= $2)) ||
    die "only $free_megabytes MB are free on the disk of $place and $2 MB are needed: make room and try again."
  { echo full? >"$run/disk.$$" && rm "$run/disk.$$"; } 2>/dev/null ||
    die "nothing can be written to the disk of $place (is it full?): make room and try again."
}

# load_env_file FILE: KEY=VALUE lines of FILE; a variable that is set already wins.
load_env_file() {
  [[ -r $1 ]] || return 0
  local line name value
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Z][A-Z0-9_]*)=(.*)$ ]] || continue
    name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
    [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]] && value=${BASH_REMATCH[1]}
    [[ -n ${!name+set} ]] || export "$name=$value"
  done <"$1"
}
