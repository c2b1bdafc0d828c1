# Demo data: queue `main`, and in it one concert with three dates to come. Made once.

seed_demo() {
  local listed concert=''
  known "$queue_ops/admin/v1/queues/main" || ask PUT "$queue_ops/admin/v1/queues/main" '{}' >/dev/null || refused
  listed=$(ask GET "$booking/v1/concerts?limit=200") || true
  [[ ! $listed =~ \"title\":\ ?\"Demo\ concert\" ]] || return 0
  [[ ! -s $place/demo-concert ]] || concert=$(<"$place/demo-concert")
  [[ -z $concert || ,${GATED:-}, != *,concerts,* ]] || return 0 # the list is closed to us; it was made before
  if [[ -z $concert ]] || ! add_date "$concert" 30 2>/dev/null; then
    concert=$(ask POST "$booking_ops/admin/v1/concerts" '{"title":"Demo concert","queue":"main"}' |
      sed -nE 's/.*"concert_id": ?"([^"]*)".*/\1/p') || refused
    echo "$concert" >"$place/demo-concert"
    add_date "$concert" 30 || refused
  fi
  add_date "$concert" 31 && add_date "$concert" 32 || refused
}

# add_date CONCERT DAYS: on sale since yesterday, until an hour before it starts in DAYS days.
add_date() {
  ask POST "$booking_ops/admin/v1/concerts/$1/schedules" "{\"starts_at\":\"$(at "$2" 19)\",
    \"sales_open_at\":\"$(at -1 19)\",\"sales_close_at\":\"$(at "$2" 18)\",\"seats\":{\"count\":50,\"price\":10000}}" >/dev/null
}

# at DAYS HOUR: that hour, so many days from today.
at() {
  local form="+%Y-%m-%dT$2:00:00Z"
  date -u -d "$1 days" "$form" 2>/dev/null || date -u -v "$(printf '%+d' "$1")d" "$form"
}

known() { [[ $(ask GET "$1" --output /dev/null --write-out '%{http_code}' 2>/dev/null) != 404 ]]; }

# ask METHOD URL [BODY]: as the operator.
ask() {
  local method=$1 url=$2
  shift 2
  [[ ${1:-} != \{* ]] || set -- --data "$1"
  curl --noproxy '*' --silent --show-error --fail --max-time 20 --request "$method" "$url" \
    --header "authorization: Bearer $ADMIN_TOKEN" --header 'content-type: application/json' "$@"
}

refused() { die "the demo data was refused (see the status above, and $logs): mend that and try again."; }
