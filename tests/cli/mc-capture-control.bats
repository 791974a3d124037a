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

@test "a T0 in the past, within what standby kept: from T0 on all the same, sound to the sample, picture from a key frame" {
  standby
  peer standby status status status status start:-2000 started stop:500 stopped >said
  wait $CAPTURE_PID
  within "$(behind_t0 a.nut a)" -0.000011 0.000011
  begin=$(behind_t0 a.nut v)
  within "$begin" 0 0.55
  # Without a hole, up to T1, and never longer than a second to the next key frame.
  zero=$(date -u -d "$(tag_of a.nut format_tags=maycast-t0)" +%s.%N)
  ffprobe -v quiet -select_streams v -show_entries packet=pts_time,flags -of csv=p=0 a.nut >packets
  awk -F, -v zero="$zero" 'NR == 1 && $2 !~ /K/ { print "no key frame first"; exit 1 }
    NR > 1 && ($1 - last < 0.0332 || $1 - last > 0.0335) { print "a hole in front of", $1 - zero; exit 1 }
    $2 ~ /K/ { key = $1 } $1 - key > 1.05 { print "no key frame up to", $1 - zero; exit 1 }
    { last = $1 } END { d = last + 1 / 30 - zero - 2.5; exit !(d >= -0.001 && d <= 0.034) }' packets
  awk -v zero="$zero" 'NR > 1 && ($1 - last < 0.0213 || $1 - last > 0.02135) { print "a hole in front of", $1 - zero; exit 1 }
    { last = $1 } END { exit !(last - zero >= 2.45 && last - zero <= 2.5) }' <(packet_times a.nut a)
  recorded
  run grep -c '^# gap\|^# dropped' recording/manifest
  assert_output 0
  # In the order of time, so that chunks are a second of both.
  awk '/^[^#]/' recording/manifest >chunks
  [ "$(wc -l <chunks)" -ge 2 ]
  ffprobe -v quiet -show_entries packet=codec_type,pts_time -of csv=p=0 a.nut | grep '^[va]' |
    awk -F, 'NR > 1 && $2 < last - 1 { print $1, "comes late by", last - $2; exit 1 } $2 > last { last = $2 }'
}

@test "a T0 in the past, and a screen: its pictures have the times of the session clock, before the command and behind it" {
  start_screen
  VIDEO=x11:$SCREEN
  standby --rate 15
  before=$(date +%s%N)
  peer standby status status status status start:-2000:5000 started stop:500 stopped >said
  wait $CAPTURE_PID
  after=$(date +%s%N)
  within "$(behind_t0 a.nut v)" 0 0.6
  within "$(behind_t0 a.nut a)" -0.000011 0.000011
  # A screen is looked at when the machine comes to it, but not in bursts, and the last picture is before T1.
  zero=$(date -u -d "$(tag_of a.nut format_tags=maycast-t0)" +%s.%N)
  awk -v zero="$zero" 'NR > 1 && ($1 <= last || $1 - last > 0.4) { print $1 - last, "in front of", $1 - zero; exit 1 } { last = $1 }
    END { exit !(NR >= 12 && last - zero < 2.5 && last - zero > 2) }' <(packet_times a.nut v)
  wall=$(($(date -d "$(tag_of a.nut format_tags=maycast-t0)" +%s%N) - 5000000000))
  [ "$wall" -ge "$before" ] && [ "$wall" -le "$after" ]
  recorded
}

@test "a T0 in the past, further back than what standby kept: from the oldest on, later on the same timeline" {
  standby --preroll 1
  peer standby status status status start:-60000 started stop:200 stopped >said
  wait $CAPTURE_PID
  within "$(behind_t0 a.nut v)" 58.5 60.1
  within "$(behind_t0 a.nut a)" 58.5 60.1
  [ "$(packet_times a.nut v | wc -l)" -ge 15 ]
  recorded
}

@test "a T0 in the past, and standby kept nothing: it begins at once, later on the same timeline, both tracks alike" {
  standby --preroll 0
  peer standby start:-3000 started stop:1000 stopped >said
  wait $CAPTURE_PID
  within "$(behind_t0 a.nut v)" 2.9 3.5
  within "$(behind_t0 a.nut a)" 2.9 3.5
  recorded
}

@test "each picture and each sample has the time that it was made at, before the command and behind it" {
  # The n-th picture is as bright as n says, for 6 seconds; the sample at t is mod(t, 1) - 0.5. So both tell where their source began.
  VIDEO='lavfi:nullsrc=size=64x64:rate=30,geq=lum=16+mod(N\,180):cb=128:cr=128'
  AUDIO='lavfi:aevalsrc=mod(t\,1)-0.5:sample_rate=48000'
  for t0 in -2000 500; do
    rm -f ready
    before=$(date +%s.%N)
    standby --audio-codec flac
    after=$(date +%s.%N)
    peer standby status status status status start:$t0 started stop:1500 stopped >said
    wait $CAPTURE_PID
    ffmpeg -nostdin -v error -y -i a.nut -map 0:v -fps_mode passthrough -pix_fmt yuv420p -f rawvideo v.raw -map 0:a -f s16le a.raw
    od -An -v -tu1 -w6144 v.raw | awk '{ print $1 - 16 }' | paste - <(packet_times a.nut v) >pictures
    begin=$(packet_times a.nut a | head -1)
    od -An -v -td2 -w2 a.raw | awk -v begin="$begin" '{ printf "%s %.6f\n", $1, begin + (NR - 1) / 48000 }' >samples
    [ "$(wc -l <samples)" -ge 47900 ]
    awk -v before="$before" -v after="$after" '
      function part(x, of) { x -= of * int(x / of); return x < 0 ? x + of : x }
      FILENAME == "pictures" { n = $1; if (FNR > 1 && part(n - last, 180) != 1) { print "picture", n, "behind", last; exit 1 }
        last = n; zero = part($2 - n / 30, 6)
        if (FNR == 1) { first = zero; from = part(before, 6); d = part(zero - from, 6)
          if (d > after - before) { print "the source began", d, "behind its start"; exit 1 } }
        d = zero - first; if (d < -0.0005 || d > 0.0005) { print "picture", n, "is off by", d; exit 1 } next }
      FNR % 100 == 1 { d = part($2 - ($1 / 32768 + 0.5) - first + 0.5, 1) - 0.5
        # Where the ramp falls nobody knows.
        if ($1 > -32000 && $1 < 32000 && (d < -0.0002 || d > 0.0002)) { print "sample", FNR, "is off by", d; exit 1 } }' pictures samples
  done
}

# bats test_tags=long
@test "an encoder that takes no request for a key frame begins at T0 all the same" {
  ffmpeg -hide_banner -encoders 2>/dev/null | grep -q libsvtav1 || skip "there is no SVT-AV1"
  # Told when it may have been found out, and before.
  for steps in "status status status start:1500" start:1500; do
    rm -rf ready recording
    standby --video-codec libsvtav1
    # shellcheck disable=SC2086 # several steps
    peer standby $steps started stop:2500 stopped >said
    wait $CAPTURE_PID
    expect_span 1000
    recorded
  done
}

@test "stopped before its T0, it ends at once, and not a frame came" {
  standby
  peer standby start:30000 started stop error >said
  code=0
  wait $CAPTURE_PID || code=$?
  [ $code -eq 66 ]
  grep -q "not a single frame" said
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
  peer standby status status start:0 started status status stop stopped >said
  wait $CAPTURE_PID
  # In standby the encoders work as well, and nothing of it counts.
  jq -se 'map(select(.event == "status")) | .[1].state == "standby" and .[1].video_seen > 0 and .[1].video_frames == 0 and
    .[1].audio_frames == 0 and (.[1].encoder_load_percent | type) == "number" and
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

@test "a step of the session clock moves neither what was recorded nor the end" {
  standby
  peer standby start:300 started status clock:5000 clock:1 stop:1900 stopping stopped >said
  wait $CAPTURE_PID
  # The end is in the stepped clock's words.
  expect_span 1600
  recorded
  grep -qE '^# clock .*step-us=5000000 ' recording/manifest
  [ "$(grep -c 'step-us' recording/manifest)" -eq 1 ]
  grep -qE '^# clock .*session-offset-us=[0-9]+ ' recording/manifest
  grep -q 'the session clock was stepped by 5000 ms' err
}
