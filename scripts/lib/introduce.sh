# What a person sees once the system runs: where it is, and a walk through it.

introduce() {
  printf 'queue=%s\nbooking=%s\n' "$queue" "$booking" >"$place/addresses"
  cat <<TEXT

The system runs.
  queue    $queue/docs    operators: $queue_ops
  booking  $booking/docs    operators: $booking_ops
  stores   $REDIS_URL  $DATABASE_URL
  logs     $logs
  admin    authorization: Bearer $ADMIN_TOKEN

A walk through it, to paste into a shell (or run scripts/walkthrough):

queue=$queue booking=$booking
$(sed '1,/^# ---/d' scripts/walkthrough)

TEXT
}
