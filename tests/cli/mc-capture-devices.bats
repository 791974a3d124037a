#!/usr/bin/env bats
# mc-capture(1) on what a machine has: a microphone behind PulseAudio, ALSA, a camera. A case runs where its device exists.
# How long a device takes to open is part of what is measured, so that nothing else runs beside it.
# label: long
# label: serial

load ../helpers/common
load ../helpers/media

# start_pulse: a sound server of our own whose microphone `mic` plays what is written into the FIFO ./mic, S16 mono 48000.
start_pulse() {
  command -v pulseaudio >/dev/null || skip "pulseaudio is not installed"
  export PULSE_SERVER=unix:$PWD/socket PULSE_RUNTIME_PATH=$PWD/run PULSE_STATE_PATH=$PWD/state HOME=$PWD
  pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes \
    -L "module-native-protocol-unix auth-anonymous=1 socket=$PWD/socket" \
    -L "module-pipe-source source_name=mic file=$PWD/mic format=s16le rate=48000 channels=1" 2>pulse.log 3>&- &
  PULSE_PID=$!
  own_child $PULSE_PID
  until [ -p mic ] && [ -S socket ]; do kill -0 $PULSE_PID || fail "pulseaudio: $(cat pulse.log)"; done
  ffmpeg -nostdin -v error -re -f lavfi -i sine=frequency=440:sample_rate=48000 -f s16le -y mic 2>/dev/null 3>&- &
  own_child $!
}

# How often the sound crosses zero in a second, decoded from the middle of FILE: twice its frequency.
crossings() {
  ffmpeg -nostdin -v error -i "$1" -ss 0.5 -t 1 -map 0:a -ac 1 -ar 48000 -f s16le - | od -An -v -td2 -w2 |
    awk '$1 > 0 && sign <= 0 || $1 < 0 && sign >= 0 { n++ } $1 { sign = $1 } END { print n + 0 }'
}

# is_about FILE SECONDS: the sound of FILE covers so much of the timeline, and every time is behind the one before.
is_about() {
  packet_times "$1" a | awk -v want="$2" 'NR > 1 && $1 <= last { exit 2 } NR == 1 { first = $1 } { last = $1 }
    END { d = last - first; if (NR < 10 || d < want - 0.2 || d > want + 0.2) { print NR " packets in " d " s"; exit 1 } }'
}

@test "a microphone behind PulseAudio: its sound, for as long as was asked" {
  start_pulse
  mc-capture --quiet --audio pulse:mic --duration 2 >a.nut
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
  mc-join --quiet recording -o a.m4a
  is_about a.m4a 2
  n=$(crossings a.m4a)
  [ "$n" -ge 870 ] && [ "$n" -le 890 ] || fail "$n crossings instead of 880"
  run grep -c '^# gap' recording/manifest
  assert_output 0
}

@test "a microphone in standby: REC that comes 2 s late gets its sound from T0 on, at the sample" {
  start_pulse
  mkfifo ready
  mc-capture --quiet --audio pulse:mic --control unix:control --notify-fd 9 9>ready >a.nut 2>err &
  pid=$!
  own_child $pid
  read -r _ <ready
  "$MC_SOURCE/tests/helpers/capture-peer" control standby status status status status start:-2000 started stop:1000 stopped
  wait $pid
  within "$(behind_t0 a.nut a)" -0.000021 0.000021
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
  mc-join --quiet recording -o a.m4a
  is_about a.m4a 3
  n=$(crossings a.m4a)
  [ "$n" -ge 870 ] && [ "$n" -le 890 ] || fail "$n crossings instead of 880"
  run grep -c '^# gap' recording/manifest
  assert_output 0
}

@test "a sound server that dies is a device that is lost: exit 74, what came is whole, and no end is said" {
  start_pulse
  mc-capture --quiet --audio pulse:mic >a.nut 2>err &
  pid=$!
  own_child $pid
  until [ "$(stat -c %s a.nut)" -gt 20000 ]; do :; done
  kill -KILL $PULSE_PID
  code=0
  wait $pid || code=$?
  [ $code -eq 74 ] || fail "exit $code: $(cat err)"
  grep -q "all devices are lost" err
  mc-mux --quiet <a.nut >a.mp4
  expect_playable a.mp4
  run grep -ac '{"event":"end"}' a.nut
  assert_output 0
}

@test "an ALSA device whose clock is nobody's: the times are those of the capture clock" {
  mc-capture --quiet --audio alsa:null --duration 2 >a.nut 2>err ||
    { grep -qE 'cannot open|no such' err && skip "ALSA has no device 'null' here"; fail "$(cat err)"; }
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
  mc-join --quiet recording -o a.m4a
  is_about a.m4a 2
}

@test "a camera: pictures, for as long as was asked" {
  camera=$(find /dev -maxdepth 1 -name 'video*' -type c | sort | head -1)
  [ -n "$camera" ] || skip "there is no camera"
  mc-capture --quiet --video "v4l2:$camera" --duration 2 >a.nut 2>err || { grep -q 'cannot open' err && skip "$(cat err)"; fail "$(cat err)"; }
  mc-mux --quiet <a.nut | mc-spool --quiet write recording
  mc-verify --quiet recording
  mc-join --quiet recording -o a.mp4
  expect_playable a.mp4
  packet_times a.mp4 v | awk 'NR > 1 && $1 <= last { exit 1 } { last = $1 } END { exit NR < 2 || last > 2 }'
}
