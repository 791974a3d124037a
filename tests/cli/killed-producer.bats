#!/usr/bin/env bats
# A producer that is killed: the recording stays open, plays up to its last whole frame, can be continued, and is never
# taken for finished (issue: first light, point 7).
# label: serial

load ../helpers/common
load ../helpers/media

CAPTURE=(mc-capture --quiet --video lavfi:testsrc2=size=320x180:rate=30 --audio lavfi:sine=frequency=440:sample_rate=48000)

# start_pipeline DIR COMMAND...: COMMAND | mc-mux | mc-spool write DIR with acknowledgements on descriptor 8, each part a
# process of our own whose pid is known.
start_pipeline() {
  local dir=$1
  shift
  rm -f nut fmp4 acks
  mkfifo nut fmp4 acks
  exec 8<>acks
  mc-spool --quiet write "$dir" --events 5 <fmp4 5>&8 8>&- 2>spool.log &
  SPOOL=$!
  mc-mux --quiet <nut >fmp4 8>&- &
  MUX=$!
  "$@" >nut 8>&- &
  CAPTURER=$!
  own_child $SPOOL
  own_child $MUX
  own_child $CAPTURER
}

# Waits until N frames are durable.
await_frames() {
  local n=0 line
  while [ "$n" -lt "$1" ]; do
    read -r -t 20 line <&8 || { echo "only $n frames came"; return 1; }
    [[ $line != *'"event":"durable"'* ]] || n=$((n + 1))
  done
}

# Ends all of it and sets STATUS to mc-spool's exit code.
await_end() {
  exec 8>&-
  STATUS=0
  wait "$SPOOL" || STATUS=$?
  wait "$MUX" "$CAPTURER" || true
}

check_open_and_playable() {
  [ "$STATUS" -eq 1 ] || { echo "mc-spool: exit $STATUS"; cat spool.log; false; }
  run grep -c '^# end' "$1/manifest"
  assert_output 0
  mc-verify "$1"
  mc-join --quiet "$1" -o open.mp4
  expect_playable open.mp4
}

continue_and_close() {
  local before
  before=$(mc-spool list "$1" | grep -c '^chunk_')
  "${CAPTURE[@]}" --duration 2 | mc-mux --quiet | mc-spool --quiet write "$1"
  mc-verify "$1"
  grep -q '^# end' "$1/manifest"
  grep -q '^# gap .*reason=restarted' "$1/manifest"
  [ "$(mc-spool list "$1" | grep -c '^chunk_')" -gt "$before" ]
  mc-join --quiet "$1" -o whole.mp4
  expect_playable whole.mp4
}

@test "kill -9 of mc-capture" {
  start_pipeline rec "${CAPTURE[@]}"
  await_frames 120
  kill -KILL "$CAPTURER"
  await_end
  check_open_and_playable rec
  continue_and_close rec
}

@test "kill -9 of mc-mux" {
  start_pipeline rec "${CAPTURE[@]}"
  await_frames 120
  kill -KILL "$MUX"
  await_end
  check_open_and_playable rec
  continue_and_close rec
}

# bats test_tags=long
@test "kill -9 of mc-mux behind another program's NUT" {
  start_pipeline rec ffmpeg -v error -re -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -c:v libx264 \
    -preset ultrafast -g 30 -c:a aac -f nut -
  await_frames 60
  kill -KILL "$MUX"
  await_end
  check_open_and_playable rec
}

@test "interrupted as a terminal does it, all three at once: every frame is kept and the recording is closed" {
  start_pipeline rec "${CAPTURE[@]}"
  await_frames 90
  kill -INT "$CAPTURER" "$MUX" "$SPOOL"
  await_end
  [ "$STATUS" -eq 0 ] || { cat spool.log; false; }
  grep -q '^# end' rec/manifest
  mc-verify rec
}

# bats test_tags=long
@test "mc-spool alone is told to stop while the producer goes on: what came is durable, the recording stays open" {
  start_pipeline rec "${CAPTURE[@]}"
  await_frames 60
  kill -TERM "$SPOOL"
  await_end
  [ "$STATUS" -eq 0 ] || { cat spool.log; false; }
  run grep -c '^# end' rec/manifest
  assert_output 0
  mc-verify rec
}
