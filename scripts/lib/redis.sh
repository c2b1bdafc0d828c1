# A private Redis on a free port of 127.0.0.1.

# start_redis DATA: sets $redis_port.
start_redis() {
  mkdir -p "$1"
  for _ in 1 2 3; do
    redis_port=$(free_port)
    launch redis "$redis_server" --bind 127.0.0.1 --port "$redis_port" --dir "$1" \
      --appendonly yes --appendfsync everysec --save '' --daemonize no
    await redis 60 redis_answers && return
    stop redis
    grep -q 'Address already in use' "$logs/redis.log" || break # else: somebody was faster, another port
  done
  die_with_log redis "Redis did not start: mend what its lines above say (or remove $1 to start afresh), then try again."
}

# Ours answers on that port, and has its data loaded. Not somebody else who took the port.
redis_answers() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$redis_port"
    printf 'INFO server\r\nPING\r\nQUIT\r\n' >&3
    answer=$(timeout_read <&3)
    [[ $answer == *"process_id:$(pid_of redis)"* && $answer == *+PONG* ]]
  ) 2>/dev/null
}

timeout_read() { while IFS= read -r -t 2 line; do printf '%s\n' "$line"; done; }
