# What a person reads: `say` for progress, `die` for the one sentence that says what is wrong and what to do.

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# die_with_log NAME SENTENCE: the same, after the last lines that NAME wrote.
die_with_log() {
  printf '\n--- last lines of %s\n' "$logs/$1.log" >&2
  tail -n 15 "$logs/$1.log" >&2 || true
  printf -- '---\n' >&2
  die "$2"
}
