#!/usr/bin/env bats
# kill -9 of mc-serve, of mc-push and of both in the middle of an upload, at random. What was answered 201 or 200, as a
# witness between the two wrote it down, is in the store with that SHA-256: before and behind the restart (never-lose L15).
# MC_KILL_ROUNDS=200 for more.
# label: long

load ../helpers/common
load ../helpers/crash
load ../helpers/net

ROOM=studio-a/001/alice

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_recording spool/$ROOM 12
}

# witnessed: every acknowledgement in the log stands in the store.
witnessed() {
  awk '($1 == 200 || $1 == 201) && $2 ~ /^(PUT|PATCH)$/ { sub("^/v1/recordings/", "", $3); print $4 "  store/" $3 }' acknowledged | sort -u >sums
  [ ! -s sums ] || sha256sum -c --strict --quiet sums
}

# serve PORT: as start_server, without bats' list of children, which is not shared with the other process.
serve() {
  mkfifo ready
  mc-serve --quiet --listen "127.0.0.1:$1" --store file:store --notify-fd 9 9>ready 2>>server.log 3>&- &
  server=$!
  read -r SERVER_URL <ready
  rm ready
}

round() (
  number=$1 code=0
  RANDOM=$((number * 7919))
  at=$((1 + RANDOM % 14)) us=$((RANDOM % 12000))
  mkdir "round-$number"
  cd "round-$number" || exit 1
  trap 'kill -KILL $server $PROXY_PID $push 2>/dev/null; wait' EXIT
  cp -r "$BATS_FILE_TMPDIR/spool" .
  serve 0
  mkfifo proxy
  chaos_proxy --notify-fd 9 --log acknowledged --kill "victims:$at:$us" "$SERVER_URL" 9>proxy >proxy.counts 3>&- &
  PROXY_PID=$!
  read -r PROXY_URL <proxy
  mc-push --quiet spool/$ROOM "$PROXY_URL" 2>push.log 3>&- &
  push=$!
  case $((number % 3)) in
    0) echo "$server" >v ;;
    1) echo "$push" >v ;;
    2) echo "$server $push" >v ;;
  esac
  mv v victims
  if [ $((number % 3)) -ne 1 ]; then
    wait $server || code=$?
    [ $code -eq 137 ] || { echo "round $number: the server ended with $code"; exit 1; }
    witnessed || { echo "round $number: before the restart"; exit 1; }
    serve "${SERVER_URL##*:}"
    witnessed || { echo "round $number: behind the restart"; exit 1; }
  fi
  [ $((number % 3)) -eq 0 ] || { wait $push; push=; witnessed || { echo "round $number: mc-push killed"; exit 1; }; }
  if [ -n "$push" ]; then
    wait $push || { echo "round $number: mc-push: $(cat push.log)"; exit 1; }
  else
    mc-push --quiet --deadline 60 spool/$ROOM "$PROXY_URL" || exit 1
  fi
  kill -TERM $PROXY_PID
  wait $PROXY_PID
  witnessed && expect_synced spool store $ROOM || { echo "round $number: in the end"; exit 1; }
  [ -z "$(find store -name '.stage-*')" ] || { echo "round $number: a stage is left"; find store; exit 1; }
  echo "killed=$(counted killed) acknowledged=$(grep -c -E '^20[01] P' acknowledged)" >>../verdicts
  cd .. && rm -rf "round-$number"
)

total() { awk '{ n += $1 } END { print n }'; }

@test "kill -9 of server and client at random, in mid-transfer" {
  rounds=${MC_KILL_ROUNDS:-100}
  two_at_a_time round $(seq 1 "$rounds")
  [ "$(wc -l <verdicts)" -eq "$rounds" ]
  [ "$(grep -c 'killed=[12]' verdicts)" -ge $((rounds * 9 / 10)) ]
  echo "$rounds rounds, $(sed -n 's/killed=\([0-9]*\).*/\1/p' verdicts | total) kills," \
    "$(sed 's/.*acknowledged=//' verdicts | total) acknowledgements checked" >&3
}
