#!/usr/bin/env bats
# mc-capture(1), CONTROL: in standby until told, on the session clock, and no peer's loss is a stop.

load ../helpers/common
load ../helpers/media

VIDEO=lavfi:testsrc2=size=320x180:rate=30
AUDIO=lavfi:sine=frequency=440:sample_rate=48000

peer() { "$MC_SOURCE/tests/helpers/capture-peer" control "$@"; }

# standby [options]: in standby with its output in a.nut; sets CAPTURE_PID.
standby() {
  mkfifo ready
  mc-capture --video $VIDEO --audio $AUDIO "$@" --control unix:control --notify-fd 9 9>ready >a.nut 2>err &
  CAPTURE_PID=$!
  own_child $CAPTURE_PID
  read -r _ <ready
}

recorded() {
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
}

# expect_span MS: the recording begins at its T0 and is so long, to the frame.
expect_span() {
  packet_times a.nut v >times.v
  packet_times a.nut a >times.a
  t0=$(tag_of a.nut format_tags=maycast-t0)
  zero=$(date -u -d "$t0" +%s.%N)
  awk -v zero="$zero" -v ms="$1" '
    NR == 1 && ($1 - zero < -1e-3 || $1 - zero > 0.034) { print "the picture begins at", $1 - zero; bad = 1 }
    { last = $1 }
    END { d = last + 1 / 30 - zero - ms / 1000; if (d < -0.001 || d > 0.034) { print "the picture ends off by", d; bad = 1 }
          n = int(ms * 30 / 1000 + 0.5); if (NR < n - 1 || NR > n + 1) { print NR, "pictures"; bad = 1 } exit bad }' times.v
  # 1024 samples of priming come first.
  awk -v zero="$zero" 'NR == 1 { d = $1 + 1024 / 48000 - zero; if (d < -1e-3 || d > 1e-3) { print "sound begins at", d; exit 1 } exit 0 }' times.a
}

@test "nothing is written before it is told, and then from T0 on, to the frame, on the session clock" {
  for offset in 0 5000 -5000; do
    rm -rf recording ready
    standby
    peer standby status
    [ ! -s a.nut ]
    before=$(date +%s%3N)
    peer standby start:700:$offset started stop:1700 stopping stopped >said
    wait $CAPTURE_PID
    after=$(date +%s%3N)
    expect_span 1000
    [ "$(tag_of a.nut format_tags=maycast-bound-us)" = 250 ]
    # By the wall clock T0 was between the command and the end of the take.
    wall=$(($(date -d "$(tag_of a.nut format_tags=maycast-t0)" +%s%N) / 1000000 - offset))
    [ "$wall" -ge "$before" ] && [ "$wall" -le "$after" ] || fail "T0 at $wall, not between $before and $after"
    recorded
    grep -q "^# t0 $(tag_of a.nut format_tags=maycast-t0) bound-us=250 " recording/manifest
  done
}

@test "a T0 in the past: it begins at once, later on the same timeline, both tracks alike" {
  standby
  peer standby start:-3000 started stop:1000 stopped >said
  wait $CAPTURE_PID
  zero=$(date -u -d "$(tag_of a.nut format_tags=maycast-t0)" +%s.%N)
  for stream in v a; do
    awk -v zero="$zero" -v kind=$stream 'NR == 1 { exit !($1 - zero >= 2.9 && $1 - zero < 3.5) }' <(packet_times a.nut $stream)
  done
  recorded
}

@test "the loss of the peer is no stop: another one comes and finds it recording" {
  standby
  peer standby start:100 started
  peer started status status
  peer started stop stopped >said
  wait $CAPTURE_PID
  grep '"event":"status"' said || true
  grep -q '"event":"stopped"' said
  recorded
}

@test "what the peer hears: what came, what is lost, the load and the level" {
  standby
  peer standby status start:0 started status status stop stopped >said
  wait $CAPTURE_PID
  jq -se 'map(select(.event == "status")) | .[0].state == "standby" and .[0].video_frames == 0 and
    .[-1].state == "started" and .[-1].video_frames > 0 and .[-1].dropped_packets == 0 and
    (.[-1].encoder_load_percent | type) == "number" and .[-1].sound_peak_db < -17 and .[-1].sound_peak_db > -19' said
}

@test "what is not a command is answered, and changes nothing" {
  standby
  peer standby raw:garbage error 'raw:{"command":"dance"}' error 'raw:{"command":"start"}' error \
    'raw:{"command":"start","t0":"2026-11-28T00:00:00Z","offset_us":"x","bound_us":1}' error 'raw:[1]' error >said
  run peer standby "raw:$(head -c 10000 /dev/zero | tr '\0' x)" never
  assert_failure 1
  peer standby start:0 started 'raw:{"command":"start","t0":"2026-11-28T00:00:00Z","offset_us":0,"bound_us":1}' error keyframe! keyframe \
    status stop stopped >said
  grep -q "has started already" said
  wait $CAPTURE_PID
  recorded
}

@test "ended in standby, it has written nothing and exits 0" {
  standby
  peer standby stop stopped
  wait $CAPTURE_PID
  [ ! -s a.nut ]
  rm ready
  standby
  kill -TERM $CAPTURE_PID
  wait $CAPTURE_PID
  [ ! -s a.nut ] && [ ! -e control ]
}

@test "a socket that another capture listens at is left alone" {
  standby
  expect_exit 75 mc-capture --video $VIDEO --control unix:control
  expect_exit 64 mc-capture --video $VIDEO --control control
  expect_exit 64 mc-capture --video $VIDEO --control unix:other --pace none
  peer standby stop stopped
  wait $CAPTURE_PID
}

@test "a device that is lost in standby ends the capture with 74, and the peer hears of it" {
  start_screen
  VIDEO=x11:$SCREEN
  standby --rate 15
  peer standby status error >said &
  listener=$!
  own_child $listener
  until grep -q '"video_seen":[1-9]' said; do :; done
  kill -KILL $SCREEN_PID
  code=0
  wait $CAPTURE_PID || code=$?
  [ $code -eq 74 ] || fail "exit $code: $(cat err)"
  grep -q "'$VIDEO' is lost" err
  wait $listener
  grep -q '"event":"error".*is lost' said
  [ ! -s a.nut ] && [ ! -e control ]
}

@test "a device that is lost while it records is an event, and the other goes on to T1" {
  start_screen
  VIDEO=x11:$SCREEN
  standby --rate 15
  peer standby start:0 started
  until [ "$(stat -c %s a.nut)" -gt 20000 ]; do :; done
  kill -KILL $SCREEN_PID
  until grep -q "the recording goes on without it" err; do :; done
  peer started status stop stopped
  wait $CAPTURE_PID
  run events_of a.nut
  assert_output --partial '"event":"device-lost"'
  assert_output --partial '"reason":"device-lost"'
  assert_output --partial '"event":"end"'
  recorded
}
