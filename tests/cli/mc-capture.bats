#!/usr/bin/env bats
# mc-capture(1): devices that are graphs and files here; real ones are for the machines that have them.

load ../helpers/common
load ../helpers/media

VIDEO=lavfi:testsrc2=size=320x180:rate=30
AUDIO=lavfi:sine=frequency=440:sample_rate=48000

count() { ffprobe -v quiet -count_packets -select_streams "$2" -show_entries stream=nb_read_packets -of csv=p=0 "$1" | head -1; }

@test "so many seconds are so many frames and samples" {
  mc-capture --video $VIDEO --audio $AUDIO --duration 2.5 --pace none >a.nut
  [ "$(count a.nut v)" -eq 75 ]
  # 120000 samples behind 1024 of priming, in packets of 1024.
  [ "$(count a.nut a)" -ge 118 ]
  mc-mux --quiet <a.nut >a.mp4
  [ "$(ffmpeg -nostdin -v error -i a.mp4 -map 0:v -f framehash - | grep -vc '^#')" -eq 75 ]
}

@test "a key frame is the first of each second, and nothing is reordered" {
  mc-capture --video $VIDEO --duration 3 --pace none >a.nut
  ffprobe -v quiet -select_streams v -show_entries packet=pts,flags -of csv=p=0 a.nut >packets
  awk -F, 'NR == 1 { zero = $1 } NR > 1 && $1 <= last { exit 1 } { last = $1 }
    ($2 ~ /K/) != (($1 - zero) % 90000 == 0) { exit 1 }' packets
}

@test "time stamps are Unix time, and the tags say where zero is" {
  before=$(date +%s)
  mc-capture --video $VIDEO --audio $AUDIO --recording-id 0123456789abcdef0123456789abcdef --duration 1 --pace none >a.nut
  after=$(date +%s)
  first=$(packet_times a.nut v | head -1)
  awk -v t="$first" -v from="$before" -v to="$after" 'BEGIN { exit !(t >= from && t <= to + 1) }'
  [ "$(tag_of a.nut format_tags=maycast-recording)" = 0123456789abcdef0123456789abcdef ]
  t0=$(date -d "$(tag_of a.nut format_tags=maycast-t0)" +%s)
  [ "$t0" -ge "$before" ] && [ "$t0" -le "$after" ]
  [ "$(ffprobe -v quiet -select_streams a -show_entries stream_tags=maycast-priming -of csv=p=0 a.nut)" = 1024 ]
  [ "$(ffprobe -v quiet -select_streams v -show_entries stream_tags=maycast-nominal -of csv=p=0 a.nut)" = 3000 ]
}

@test "picture and sound begin together in the file that comes of it" {
  mc-capture --video $VIDEO --audio $AUDIO --audio-codec libopus --duration 1.5 --pace none | mc-mux >a.mp4
  # Presentation times, so the priming lies before zero.
  [ "$(ffprobe -v error -select_streams v -show_entries packet=pts -of csv=p=0 a.mp4 | head -1 | tr -d ,)" -eq 0 ]
  [ "$(ffprobe -v error -select_streams a -show_entries packet=pts -of csv=p=0 a.mp4 | head -1 | tr -d ,)" -eq -312 ]
}

@test "events are in band: start and clock first, the end last" {
  mc-capture --video $VIDEO --duration 1 --pace none >a.nut
  run events_of a.nut
  assert_line --index 0 --partial '"event":"start"'
  assert_line --index 0 --partial '"video":"lavfi:testsrc2'
  assert_line --index 1 --partial '"event":"clock"'
  assert_line --index 2 '{"event":"end"}'
}

@test "a file plays as a camera, with its sound, in real time" {
  SECONDS_OF_MEDIA=1.5
  mapfile -t inputs < <(picture 320x180 30000/1001; sound 44100)
  encode clip.mp4 "${inputs[@]}" -c:v libx264 -preset ultrafast -bf 2 -c:a aac
  started=$(date +%s%N)
  mc-capture --video file:clip.mp4 >a.nut
  took_ms=$((($(date +%s%N) - started) / 1000000))
  [ "$took_ms" -ge 1300 ] || fail "played in $took_ms ms"
  [ "$(count a.nut v)" -eq "$(count clip.mp4 v)" ]
  [ "$(codec_of a.nut a)" = aac ]
  run events_of a.nut
  assert_output --partial '"end"'
}

@test "a signal stops it: the encoders are flushed, the end is said, exit 0" {
  for signal in INT TERM; do
    mkfifo ready
    mc-capture --video $VIDEO --audio $AUDIO --notify-fd 9 9>ready >a.nut &
    pid=$!
    own_child $pid
    read -r line <ready
    [ "$line" = ready ]
    # Something must have come, or it is an error.
    until [ "$(stat -c %s a.nut)" -gt 20000 ]; do :; done
    kill -$signal $pid
    wait $pid
    mc-mux --quiet <a.nut >a.mp4
    expect_playable a.mp4
    run events_of a.nut
    assert_output --partial '"end"'
    rm ready
  done
}

@test "killed, it leaves what was whole, and no end" {
  mkfifo ready
  mc-capture --video $VIDEO --notify-fd 9 9>ready >a.nut &
  pid=$!
  own_child $pid
  read -r _ <ready
  until [ "$(stat -c %s a.nut)" -gt 50000 ]; do :; done
  kill -KILL $pid
  wait $pid || true
  run events_of a.nut
  refute_output --partial '"end"'
  mc-mux --quiet <a.nut >a.mp4
  expect_playable a.mp4
}

# bats test_tags=long
@test "a reader that is too slow costs packets, said in band, never the capture" {
  # 2.4 MB of noise against a queue of 1 MB and a reader that sleeps until the capture has ended.
  mkfifo pipe done
  mc-capture --video "lavfi:nullsrc=size=640x360:rate=30,geq=random(1)*255:128:128" --video-bitrate 12M --queue-mb 1 \
    --duration 4 >pipe 2>err &
  pid=$!
  own_child $pid
  { until grep -q dropped err; do :; done; cat; } <pipe >a.nut
  wait $pid
  grep -q "packets are dropped" err
  run events_of a.nut
  assert_output --partial '"reason":"queue-overflow"'
  assert_output --partial '"end"'
  mc-mux --quiet <a.nut >a.mp4
  expect_playable a.mp4
}

@test "what a slow reader costs at the end is in the manifest, in front of its end" {
  # Less than one group of pictures: nothing comes behind what is dropped.
  mkfifo pipe
  mc-capture --video "lavfi:nullsrc=size=640x360:rate=30,geq=random(1)*255:128:128" --video-bitrate 40M --queue-mb 1 \
    --duration 1 --recording-id 0123456789abcdef0123456789abcdef >pipe 2>err &
  pid=$!
  own_child $pid
  { until grep -q dropped err; do :; done; cat; } <pipe >a.nut
  wait $pid
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
  run cat recording/manifest
  assert_line --regexp '^# dropped track=1 reason=queue-overflow from=[0-9]+ to=[0-9]+ timescale=90000 packets=[0-9]+ '
  assert_line --partial '# end '
}

# bats test_tags=long
@test "other encoders" {
  mc-capture --video $VIDEO --video-codec libx265 --audio $AUDIO --audio-codec flac --duration 1.2 --pace none | mc-mux >a.mp4
  [ "$(codec_of a.mp4 v)" = hevc ]
  [ "$(codec_of a.mp4 a)" = flac ]
  expect_playable a.mp4
}

@test "what cannot be opened is a clear error" {
  expect_exit 66 mc-capture --video v4l2:/dev/no-such-camera
  assert_output --partial "cannot open 'v4l2:/dev/no-such-camera': no such file"
  expect_exit 66 mc-capture --video file:missing.mp4
  expect_exit 66 mc-capture --video x11::999
  expect_exit 64 mc-capture --video lavfi:nosuchfilter
  expect_exit 64 mc-capture --video alsa:default
  expect_exit 64 mc-capture --audio /dev/audio
  expect_exit 64 mc-capture
  assert_output --partial "nothing to capture"
  expect_exit 78 mc-capture --video $VIDEO --video-codec nosuch
  assert_output --partial "no such encoder: 'nosuch'"
  expect_exit 78 mc-capture --video $VIDEO --video-codec h264_nvenc
  expect_exit 64 mc-capture --video $VIDEO --video-bitrate lots
  expect_exit 64 mc-capture --video $VIDEO --recording-id short
  expect_exit 64 mc-capture --json --video $VIDEO
  mapfile -t input < <(sound)
  encode sound.ogg "${input[@]}" -c:a libopus
  expect_exit 66 mc-capture --video file:sound.ogg
  assert_output --partial "no picture in 'file:sound.ogg'"
}

@test "output that cannot be written ends the capture" {
  expect_exit 73 sh -c "mc-capture --video $VIDEO --duration 20 >/dev/full"
  run bash -c "{ mc-capture --video $VIDEO --duration 20; echo \$? >code; } | head -c 1000 >/dev/null"
  [ "$(cat code)" -eq 74 ]
}

@test "a device that is lost is an event, and the other goes on" {
  start_screen
  mc-capture --video "x11:$SCREEN" --rate 15 --audio $AUDIO >a.nut 2>err &
  pid=$!
  own_child $pid
  until [ "$(stat -c %s a.nut)" -gt 20000 ]; do :; done
  kill -KILL $SCREEN_PID
  until grep -q "is lost" err; do :; done
  kill -INT $pid
  wait $pid
  run events_of a.nut
  assert_output --partial '"event":"device-lost"'
  assert_output --partial '"reason":"device-lost"'
  assert_output --partial '"event":"end"'
}

@test "all devices lost: exit 74, and no end" {
  start_screen
  mc-capture --video "x11:$SCREEN" --rate 15 >a.nut 2>err &
  pid=$!
  own_child $pid
  until [ "$(stat -c %s a.nut)" -gt 5000 ]; do :; done
  kill -KILL $SCREEN_PID
  code=0
  wait $pid || code=$?
  [ "$code" -eq 74 ]
  grep -q "all devices are lost" err
  run events_of a.nut
  refute_output --partial '"end"'
}
