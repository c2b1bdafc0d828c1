# Demo data: queue `main`, and in it one concert with three dates to come; what is missing is made.

seed_demo() {
  local listed concert='' there
  known "$queue_ops/admin/v1/queues/main" || ask PUT "$queue_ops/admin/v1/queues/main" '{}' >/dev/null || refused
  there=$(dates_to_come)
  ((there < 3)) || return 0
  if ((there == 0)); then # a concert that is listed all the same was made from somewhere else
    listed=$(ask GET "$booking/v1/concerts?limit=200" 2>/dev/null) || true
    [[ ! $listed =~ \"title\":\ ?\"Demo\ concert\" ]] || return 0
  fi
  [[ ! -s $place/demo-concert ]] || concert=$(<"$place/demo-concert")
  if [[ -z $concert ]] || ! add_date "$concert" $((30 + there)) 2>/dev/null; then
    concert=$(ask POST "$booking_ops/admin/v1/concerts" '{"title":"Demo concert","queue":"main"}' | member concert_id) || refused
    echo "$concert" >"$place/demo-concert"
    add_date "$concert" $((30 + there)) || refused
  fi
  while ((++there < 3)); do add_date "$concert" $((30 + there)) || refused; done
}

# How many of the dates that were made from here are still to come.
dates_to_come() {
  local id date now count=0
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  [[ -e $place/demo-dates ]] || : >"$place/demo-dates"
  while read -r id; do
    date=$(ask GET "$booking_ops/admin/v1/schedules/$id" 2>/dev/null | member starts_at) || continue
    [[ ! $date > $now ]] || count=$((count + 1))
  done <"$place/demo-dates"
  echo "$count"
}

# add_date CONCERT DAYS: on sale since yesterday, until an hour before it starts in DAYS days.
add_date() {
  ask POST "$booking_ops/admin/v1/concerts/$1/schedules" "{\"starts_at\":\"$(at "$2" 19)\",
    \"sales_open_at\":\"$(at -1 19)\",\"sales_close_at\":\"$(at "$2" 18)\",\"seats\":{\"count\":50,\"price\":10000}}" |
    member schedule_id >>"$place/demo-dates"
}

# member NAME: the text that an answer has under this name.
member() { sed -nE "s/.*\"$1\": ?\"([^\"]*)\".*/\1/p"; }

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
