# mc-push in the background, and what it tells. Loaded behind common.

# start_push ARGUMENTS...: in the background, events in the descriptor EVENTS; PUSH_PID.
start_push() {
  mkfifo events
  mc-push --json "$@" >events 2>push.log 3>&- &
  PUSH_PID=$!
  own_child "$PUSH_PID"
  exec {EVENTS}<events
}

# await_event NAME [PART]: reads events until one of that name, with PART in it, which is then in EVENT.
await_event() {
  while read -r EVENT <&"$EVENTS"; do
    case $EVENT in *"\"event\":\"$1\""*"${2:-}"*) return 0 ;; esac
  done
  echo "no event $1"
  cat push.log
  return 1
}

# end_push SIGNAL CODE: and it ends with that code.
end_push() {
  local code=0
  kill "-$1" "$PUSH_PID"
  wait "$PUSH_PID" || code=$?
  exec {EVENTS}<&-
  rm -f events
  [ "$code" -eq "$2" ] || { echo "mc-push ended with $code"; cat push.log; return 1; }
}
