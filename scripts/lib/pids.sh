# Pid files. One holds "PID BORN", so that a number which the system has given to somebody else since is
# never taken for ours.

# born PID: a word that tells this process from a later one of the same number; fails when it is dead.
born() {
  local stat
  if [[ -r /proc/self/stat ]]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -r -a stat <<<"${stat##*) }" # the fields from the third on: state, …, start time (22nd)
    [[ ${stat[0]} != Z ]] && echo "${stat[19]}"
  else
    ps -o lstart= -p "$1" | tr -s ' ' _
  fi
}

pid_of() { cut -d ' ' -f 1 "$run/$1.pid"; }

alive() {
  local pid='' birth=''
  [[ -r $run/$1.pid ]] && read -r pid birth <"$run/$1.pid"
  [[ -n $birth && $(born "$pid") == "$birth" ]]
}

# those alive|dead: which of the recorded processes are so.
those() {
  local file name state
  for file in "$run"/*.pid; do
    [[ -e $file ]] || continue
    name=$(basename "$file" .pid) state=dead
    ! alive "$name" || state=alive
    [[ $state != "$1" ]] || printf '%s ' "$name"
  done
}
