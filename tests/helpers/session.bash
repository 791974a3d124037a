# shellcheck shell=bash
# A session with rigs: `load ../helpers/session` behind common.

SESSION=studio-a
RIG_DEVICES=(--video lavfi:testsrc2=size=160x90:rate=10 --video-bitrate 300k --preset ultrafast
  --audio lavfi:sine=frequency=440:sample_rate=48000)

# A server that asks for tokens; the admin's is in `admin`. A director needs no options.
direct_server() {
  export XDG_STATE_HOME=$PWD/state
  mc-serve secret --quiet secret
  mc-serve token --secret-file secret --role admin >"$PWD/admin"
  start_server store --secret-file secret
  export MC_SERVER=$SERVER_URL
}

# start_session GUEST...: that server, and the session; URLS by guest.
declare -gA URLS GUEST_PIDS
start_session() {
  direct_server
  mc-direct --quiet new "$SESSION" --token-file admin "${@/#/--guest=}" >urls
  local url
  while read -r url; do
    local guest=${url#*/join/"$SESSION"/}
    URLS[${guest%%#*}]=$url
  done <urls
}

# start_guest GUEST [options]: its mc-guest with the spool `rig-GUEST`, in standby, or recording, when this is back.
start_guest() {
  local guest=$1
  shift
  mkfifo "ready-$guest"
  mc-guest --spool "rig-$guest" --notify-fd 9 "${RIG_DEVICES[@]}" "$@" "${URLS[$guest]}" \
    9>"ready-$guest" 2>>"guest-$guest.log" 3>&- &
  GUEST_PIDS[$guest]=$!
  own_child $!
  read -r <"ready-$guest" || { cat "guest-$guest.log"; return 1; }
  rm "ready-$guest"
}

# end_guest GUEST CODE: asked to end, and it ends with that code.
end_guest() {
  local code=0
  kill -TERM "${GUEST_PIDS[$1]}"
  wait "${GUEST_PIDS[$1]}" || code=$?
  [ "$code" -eq "$2" ] || { echo "mc-guest of $1 ended with $code"; cat "guest-$1.log"; return 1; }
}

# until_view EXPRESSION: waits for a view of the session of which the jq expression is true.
until_view() {
  local watch code=0
  mkfifo views
  mc-direct --quiet --json watch "$SESSION" >views 2>watch.log 3>&- &
  watch=$!
  own_child "$watch"
  timeout "${UNTIL_SECONDS:-90}" jq -n --unbuffered "first(inputs | .session | select($1)) | empty" <views || code=$?
  kill -TERM "$watch" 2>/dev/null || true
  wait "$watch" || true
  rm views
  [ "$code" -eq 0 ] || { echo "never seen: $1"; mc-direct --json status "$SESSION"; tail -n 50 guest-*.log rig-*/.guest/*/*/*/log; }
  return "$code"
}

# Supervisors and what they run are nobody's children when their agent is gone; their command lines have the spool's path.
# rig_processes [GUEST]
# shellcheck disable=SC2120 # without it: of all
rig_processes() { pgrep -f -- "$PWD/rig-${1:-}" || true; }
# All of it, agents first: each starts again what it has lost. Whoever has just been started is met the next time.
stop_rigs() {
  local pid pids
  stop_children
  for _ in {1..20}; do
    mapfile -t pids < <(pgrep -f -- "mc-guest supervise $PWD/rig-"; rig_processes)
    [ "${#pids[@]}" -gt 0 ] || return 0
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  done
}

# through_wire GUEST [options of forward]: what this guest says goes over a wire of its own; WIRE_PIDS by guest.
declare -gA WIRE_PIDS
through_wire() {
  local guest=$1 url
  shift
  mkfifo "wire-$guest"
  "$BATS_TEST_DIRNAME/../helpers/forward" "$@" "$MC_SERVER" 9>"wire-$guest" 3>&- &
  # shellcheck disable=SC2034 # for whoever loads this
  WIRE_PIDS[$guest]=$!
  own_child $!
  read -r url <"wire-$guest" || return 1
  rm "wire-$guest"
  URLS[$guest]=${URLS[$guest]/"$MC_SERVER"/"$url"}
}
