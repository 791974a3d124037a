# A rig that obeys its director: standby, REC, STOP, Synced, and what a rig does when it is not as it should be.
load ../helpers/common
load ../helpers/session

teardown() { stop_rigs; }

frames() { ffprobe -v error -count_packets -select_streams "$2" -show_entries stream=nb_read_packets -of csv=p=0 "$1"; }

@test "standby, rec, stop, synced, get: two takes of two rigs, each file what was recorded, begun at one T0" {
  start_session alice bob
  start_guest alice
  start_guest bob
  until_view '.guests | all(.telemetry.state == "standby")'
  for take in 001 002; do
    assert_equal "$(mc-direct --quiet rec "$SESSION")" "$take"
    until_view ".guests | all(.telemetry | .take == \"$take\" and .state == \"recording\" and .recorded_ms >= 2000)"
    mc-direct --quiet stop "$SESSION"
    mc-direct --quiet wait "$SESSION" "$take" --timeout 60s
    mc-direct --quiet get "$SESSION" "$take" -o "out-$take"
    for guest in alice bob; do
      mc-verify --quiet "rig-$guest/$SESSION/$take/$guest"
      mc-join --quiet "rig-$guest/$SESSION/$take/$guest" -o joined.mp4
      cmp joined.mp4 "out-$take/$guest.mp4"
      rm joined.mp4
      [ "$(frames "out-$take/$guest.mp4" v)" -ge 15 ]
      run ! grep '^# gap' "rig-$guest/$SESSION/$take/$guest/manifest"
      ls "rig-$guest/$SESSION/$take/$guest"/receipt-*
    done
    run -0 grep -h '^# t0' rig-*/"$SESSION/$take"/*/manifest
    assert_equal "$(awk '{ print $3 }' <<<"$output" | sort -u | wc -l)" 1
  done
  end_guest alice 0
  end_guest bob 0
  assert_equal "$(rig_processes)" ""
  assert_equal "$(find rig-*/.guest -name order)" ""
}

@test "as long as a take is not Synced, logind is asked to let nobody shut the machine down" {
  mkdir bin
  mkfifo released
  printf '#!/bin/sh\necho "$*" >"%s/held"\ncat\necho "$?" | timeout 30 tee "%s/released"\n' "$PWD" "$PWD" >bin/systemd-inhibit
  chmod +x bin/systemd-inhibit
  PATH=$PWD/bin:$PATH
  start_session alice
  start_guest alice
  [ ! -e held ]
  mc-direct --quiet rec "$SESSION"
  until_view '.guests[0].telemetry | .state == "recording" and .recorded_ms >= 500'
  run -0 cat held
  assert_output --partial '--what=shutdown:sleep --mode=block --who=mc-guest'
  assert_output --partial "the recording $SESSION/001 is not on the server yet"
  mc-direct --quiet stop "$SESSION"
  read -rt 60 <released
  mc-direct --quiet wait "$SESSION" 001 --timeout 60s
  end_guest alice 0
}

# bats test_tags=long
@test "an agent that is killed in mid-take comes back to its supervisor, and no frame is lost" {
  start_session alice
  start_guest alice
  mc-direct --quiet rec "$SESSION"
  until_view '.guests[0].telemetry | .state == "recording" and .recorded_ms >= 1000'
  kill -KILL "${GUEST_PIDS[alice]}"
  wait "${GUEST_PIDS[alice]}" || true
  until_view '.guests[0].online | not'
  start_guest alice
  mc-direct --quiet stop "$SESSION"
  mc-direct --quiet wait "$SESSION" 001 --timeout 60s
  run ! grep '^# gap' "rig-alice/$SESSION/001/alice/manifest"
  mc-verify --quiet "rig-alice/$SESSION/001/alice"
  end_guest alice 0
}

# bats test_tags=long
@test "a supervisor that is killed leaves a pipeline that goes on, and the next one takes it over" {
  start_session alice
  start_guest alice
  mc-direct --quiet rec "$SESSION"
  until_view '.guests[0].telemetry | .state == "recording" and .recorded_ms >= 1000'
  pkill -KILL -f "mc-guest supervise $PWD/rig-alice"
  until_view '.guests[0].telemetry.recorded_ms >= 4000'
  mc-direct --quiet stop "$SESSION"
  mc-direct --quiet wait "$SESSION" 001 --timeout 60s
  run ! grep '^# gap' "rig-alice/$SESSION/001/alice/manifest"
  grep -q 'died; it is started again' guest-alice.log
}

# bats test_tags=long
@test "each program of the pipeline may die: the three are started anew, with a gap in the ledger" {
  start_session alice
  start_guest alice
  mc-direct --quiet rec "$SESSION"
  local program gaps=0 manifest=rig-alice/$SESSION/001/alice/manifest
  until_view '.guests[0].telemetry.chunks_durable >= 1'
  for program in mc-capture mc-mux mc-spool; do
    # By its parent: mc-mux has no path in its command line.
    pkill -KILL -x "$program" -P "$(pgrep -f "mc-guest supervise $PWD/rig-alice")"
    # It records again when what comes behind the gap is in the manifest.
    gaps=$((gaps + 1))
    tail -n +1 -F "$manifest" 2>/dev/null | grep -c -m $gaps '^# gap track=1' >seen
    assert_equal "$(cat seen)" $gaps
  done
  mc-direct --quiet stop "$SESSION"
  mc-direct --quiet wait "$SESSION" 001 --timeout 60s
  mc-verify --quiet "${manifest%/manifest}"
  assert_equal "$(grep '^# gap track=1' "$manifest" | grep -o 'from=[^ ]*' | sort -u | wc -l)" 3
}

# bats test_tags=long
@test "asked to end before everything is Synced it goes on; made to end it is 75, and what records goes on" {
  start_session alice
  start_guest alice
  mc-direct --quiet rec "$SESSION"
  until_view '.guests[0].telemetry.recorded_ms >= 1000'
  kill -TERM "${GUEST_PIDS[alice]}"
  tail -n +1 -F guest-alice.log 2>/dev/null | grep -q -m 1 'goes on until everything is Synced'
  end_guest alice 75
  start_guest alice
  mc-direct --quiet stop "$SESSION"
  mc-direct --quiet wait "$SESSION" 001 --timeout 60s
  run ! grep '^# gap' "rig-alice/$SESSION/001/alice/manifest"
  end_guest alice 0
}

# bats test_tags=long
@test "a camera that cannot be opened is an alarm, and nothing recorded is no success" {
  start_session alice
  RIG_DEVICES=(--video v4l2:/dev/no-such-camera)
  mc-guest --spool rig-alice "${RIG_DEVICES[@]}" "${URLS[alice]}" 2>guest-alice.log 3>&- &
  GUEST_PIDS[alice]=$!
  own_child $!
  until_view '.guests[0].telemetry.alarms // [] | any(contains("no-such-camera"))'
  mc-direct --quiet rec "$SESSION"
  until_view '.guests[0].telemetry.state == "recording"'
  mc-direct --quiet stop "$SESSION"
  until_view '.guests[0].telemetry.alarms // [] | any(contains("nothing was recorded"))'
  expect_exit 75 mc-direct wait "$SESSION" 001 --timeout 0s
  end_guest alice 0
}

@test "bad input" {
  expect_exit 64 mc-guest
  assert_output --partial 'no join URL'
  expect_exit 64 mc-guest http://127.0.0.1/join/x --video lavfi:testsrc2
  expect_exit 64 mc-guest http://127.0.0.1/join/studio-a/alice
  assert_output --partial 'nothing to record'
  expect_exit 66 mc-guest supervise nowhere
  start_session alice
  expect_exit 77 mc-guest --spool rig "${RIG_DEVICES[@]}" "$MC_SERVER/join/studio-a/alice#code=0000-0000"
  start_guest alice
  expect_exit 75 mc-guest --spool rig-alice "${RIG_DEVICES[@]}" "${URLS[alice]}"
  assert_output --partial 'another mc-guest runs'
}
