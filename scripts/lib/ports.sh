# Addresses on this machine.

# taken HOST PORT: does anybody listen there?
taken() { (: <"/dev/tcp/$1/$2") 2>/dev/null; }

# free_port: a port below the range from which the system takes the near ends of connections.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    taken 127.0.0.1 "$port" || { echo "$port" && return; }
  done
  die "no free port was found on 127.0.0.1: close some of the programs that listen."
}

# url_of HOST:PORT: how this machine reaches that listener.
url_of() {
  case ${1%:*} in
    0.0.0.0 | '[::]') echo "http://127.0.0.1:${1##*:}" ;;
    *) echo "http://$1" ;;
  esac
}

# require_free VARIABLE: refuses when the address which VARIABLE holds is taken.
require_free() {
  local address
  address=$(url_of "${!1}")
  address=${address#http://}
  [[ $address =~ :[1-9][0-9]*$ ]] || die "$1=${!1} is not host:port: set it like $1=127.0.0.1:8090."
  local host=${address%:*}
  if taken "${host//[\[\]]/}" "${address##*:}"; then
    die "port ${address##*:} is taken by another program: stop it, or choose another, as in $1=127.0.0.1:$(free_port) scripts/up"
  fi
}
