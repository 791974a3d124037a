# Loaded by every bats file: `load ../helpers/common`. Gives assert_*, the tools on PATH, a scratch directory that is
# also the working directory, and children that are stopped by their pid.

bats_require_minimum_version 1.5.0 # for `run -N` and `run --separate-stderr`
# Not by their load files, which start a process for each: this is read again for every test.
# shellcheck source=/dev/null
for library in /usr/lib/bats/bats-{support,assert}/src/*.bash; do source "$library"; done

: "${MC_SOURCE:=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)}"
: "${MC_BUILD:=$MC_SOURCE/build}"
: "${MC_BIN:=$MC_BUILD/bin}"
: "${MC_HELPERS:=$MC_BUILD/helpers}"
export MC_SOURCE MC_BUILD MC_BIN MC_HELPERS
PATH="$MC_BIN:$MC_HELPERS:$PATH"

TOOLS=(mc-capture mc-mux mc-spool mc-push mc-verify mc-serve mc-join mc-direct mc-guest)

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
}

teardown() {
  stop_children
}

# started PID: sets STARTED to when this process began (proc(5), stat, field 22), or to nothing when it is gone. A number
# that was waited for belongs to somebody else before long.
started() {
  local line fields
  STARTED=
  read -r line 2>/dev/null <"/proc/$1/stat" || return 0
  read -ra fields <<<"${line##*) }"
  STARTED=${fields[19]}
}

# A child started in the background whose pid is given is ended with the test, however the test ends.
declare -gA CHILD_STARTED=() # by pid
own_child() {
  started "$1"
  CHILDREN+=("$1")
  CHILD_STARTED[$1]=$STARTED
}

stop_children() {
  local pid
  for pid in "${CHILDREN[@]}"; do
    started "$pid"
    [ -z "$STARTED" ] || [ "$STARTED" != "${CHILD_STARTED[$pid]}" ] || kill -KILL "$pid" 2>/dev/null || true
  done
  for pid in "${CHILDREN[@]}"; do wait "$pid" 2>/dev/null || true; done
  CHILDREN=()
}

# start_server STORE [options]: mc-serve on a port of the kernel's choice; sets SERVER_PID and SERVER_URL when it is ready.
start_server() {
  local store=$1
  shift
  local ready="$BATS_TEST_TMPDIR/ready.$RANDOM$RANDOM"
  mkfifo "$ready"
  mc-serve --listen "${SERVER_LISTEN:-127.0.0.1:0}" --store "file:$store" --notify-fd 9 "$@" 9>"$ready" 2>>"$BATS_TEST_TMPDIR/server.log" 3>&- &
  SERVER_PID=$!
  own_child "$SERVER_PID"
  read -r SERVER_URL <"$ready" || { cat "$BATS_TEST_TMPDIR/server.log" >&2; return 1; }
  rm -f "$ready"
}

# expect_exit CODE COMMAND...: runs it and checks the code; death by a signal (128 and up) is never the expected failure.
expect_exit() {
  local code=$1
  shift
  run "$@"
  [ "$status" -eq "$code" ] || { echo "exit $status instead of $code: $*"; echo "$output"; return 1; }
}
