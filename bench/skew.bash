# shellcheck shell=bash disable=SC2154 # what bench/run has set
# Part of bench/run: how far apart two rigs' recordings of one moment are, read from the pictures and from the sound.

# burned FILE: of each picture "SECONDS MS": where it is in the file, and the clock that was burned into it (burn-clock).
burned() {
  paste -d ' ' \
    <(ffprobe -v error -select_streams v -show_entries frame=pts_time -of csv=p=0 "$1" | tr -d ',') \
    <(ffmpeg -nostdin -v fatal -i "$1" -map 0:v -fps_mode passthrough -vf crop=192:8:0:0,scale=24:1:flags=area,format=gray \
      -f rawvideo - | xxd -p -c 24 | awk '{
        gray = value = bit = 0
        for (i = 23; i >= 0; i--) { # from the highest: a bit is the one above it, turned or not
          on = index("89abcdef", substr($0, i * 2 + 1, 1)) > 0
          bit = i == 23 ? on : (bit != on)
          value = value * 2 + bit
        }
        print value
      }')
}
# ahead FILE: by how many milliseconds the burned clock is ahead of the file's own time: the median of its last pictures.
ahead() { burned "$1" | tail -n 150 | awk '{ printf "%.3f\n", $2 - $1 * 1000 }' | sort -g | sed -n 75p; }
# beep FILE: where in two seconds of the file's own time the beeps of its last seconds end, in milliseconds.
beep() {
  ffmpeg -nostdin -v info -i "$1" -map 0:a -af silencedetect=n=-20dB:d=0.5 -f null - 2>&1 |
    sed -n 's/.*silence_start: \([0-9.]*\).*/\1/p' | tail -n 3 |
    awk '{ turn = $1 * 3.14159265358979; x += cos(turn); y += sin(turn) } END { print atan2(y, x) / 3.14159265358979 * 1000 }'
}

# skew NAME ALICE-UP ALICE-DOWN BOB-UP BOB-DOWN [TAKE-MS PPM]: one way delays in milliseconds. Alice's monotonic clock is five
# seconds behind and PPM millionths slow, Bob's five seconds ahead and as fast.
skew() {
  local name=$1 take_ms=${6:-6000} ppm=${7:-0} guest url wire apart pids=() urls=() spool=$PWD/skew-$((++skews)) session=skew-$skews
  mkdir "$spool"
  mapfile -t urls < <(mc-direct --quiet new "$session" --guest alice --guest bob)
  for guest in alice bob; do
    mkfifo "$spool/wire" "$spool/ready"
    if [ "$guest" = alice ]; then wire=("$2" "$3") url=${urls[0]} apart=-; else wire=("$4" "$5") url=${urls[1]} apart=; fi
    "$here/tests/helpers/forward" --up "${wire[0]}" --down "${wire[1]}" "$MC_SERVER" 9>"$spool/wire" &
    pids+=("$!")
    read -r wire <"$spool/wire"
    MC_CLOCK_PPM=$apart$ppm unshare --time --fork --kill-child --monotonic "${apart}5" --boottime "${apart}5" \
      env LD_PRELOAD="$bin/odd_clock.so" mc-guest --quiet --spool "$spool" --notify-fd 9 --video "x11:$display" --rate 30 \
      --size 320x64 --preset ultrafast "${sound[@]}" "${url/"$MC_SERVER"/"$wire"}" 9>"$spool/ready" &
    pids+=("$!")
    server_pids+=("${pids[@]}")
    read -r <"$spool/ready"
    rm "$spool/wire" "$spool/ready"
  done
  # Until each clock has had its first exchanges.
  until mc-direct --json status "$session" | jq -e 'all(.guests[].telemetry; .state == "standby" and .clock_bound_us != null)' >/dev/null; do :; done
  mc-direct --quiet rec "$session" >take
  until mc-direct --json status "$session" | jq -e "all(.guests[].telemetry; .recorded_ms >= $take_ms)" >/dev/null; do :; done
  mc-direct --quiet stop "$session" >take
  mc-direct --quiet wait "$session" --timeout 60s
  mc-direct --quiet get "$session" "$(cat take)" -o "$spool/out"
  # unshare passes no signal on.
  kill -TERM "$(pgrep -P "${pids[1]}")" "$(pgrep -P "${pids[3]}")"
  wait "${pids[1]}" "${pids[3]}" || true
  kill -TERM "${pids[0]}" "${pids[2]}" 2>/dev/null || true
  local bounds picture heard=-
  bounds=$(sed -n 's/^# t0 .*bound-us=\([0-9]*\).*/\1/p' "$spool/$session/001"/{alice,bob}/manifest | awk '{ s += $1 } END { print s / 1000 }')
  picture=$(awk -v a="$(ahead "$spool/out/alice.mp4")" -v b="$(ahead "$spool/out/bob.mp4")" 'BEGIN { printf "%.1f ms", a - b }')
  if [ "${#sound[@]}" -gt 0 ]; then
    heard=$(awk -v a="$(beep "$spool/out/alice.mp4")" -v b="$(beep "$spool/out/bob.mp4")" '
      BEGIN { off = b - a; off -= 2000 * int(off / 2000 + (off > 0 ? 0.5 : -0.5)); printf "%.1f ms", off }')
  fi
  row "skew: $name" "$picture" "$heard" "$bounds" "within the bounds' sum; < 33 ms"
}

# start_sound: a microphone `mic` of our own, in which it beeps each two seconds; what records it is in `sound`.
start_sound() {
  export PULSE_SERVER=unix:$PWD/pulse PULSE_RUNTIME_PATH=$PWD/pulse-run PULSE_STATE_PATH=$PWD/pulse-state
  HOME=$PWD pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes \
    -L "module-native-protocol-unix auth-anonymous=1 socket=$PWD/pulse" \
    -L "module-pipe-source source_name=mic file=$PWD/mic format=s16le rate=48000 channels=1" 2>pulse.log &
  server_pids+=("$!")
  until [ -p mic ] && [ -S pulse ]; do kill -0 "${server_pids[-1]}" || { say "error: $(cat pulse.log)"; return 1; }; done
  ffmpeg -nostdin -v error -re -f lavfi -i 'aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t\,2)\,0.1):s=48000' -f s16le -y mic 2>/dev/null &
  server_pids+=("$!")
  # A source that nobody listens to stands still, and gives what has piled up when the first one comes.
  ffmpeg -nostdin -v error -f pulse -i mic -f null - 2>/dev/null &
  server_pids+=("$!")
  sound=(--audio pulse:mic)
}

bench_skew() {
  local display skews=0 screen=$PWD/screen url sound=()
  on_disk
  mkdir "$screen"
  mkfifo display.fifo
  Xvfb -displayfd 9 -screen 0 320x64x24 -fbdir "$screen" -nolisten tcp 9>display.fifo 2>xvfb.log &
  server_pids+=("$!")
  read -r display <display.fifo
  display=:$display
  "$here/bench/burn-clock" "$screen/Xvfb_screen0" &
  server_pids+=("$!")
  mkfifo skew.ready
  mc-serve --quiet --listen 127.0.0.1:0 --store "file:$disk_dir/skew" --notify-fd 9 9>skew.ready &
  server_pids+=("$!")
  read -r url <skew.ready
  export MC_SERVER=$url XDG_STATE_HOME=$PWD/state
  ! command -v pulseaudio >/dev/null || start_sound
  row "one moment in two recordings" "seen apart" "heard apart" "bounds" ""
  skew "no delay" 0 0 0 0
  skew "40 ms round trip, alike" 20 20 20 20
  skew "40 ms, alice 30 up 10 down" 30 10 20 20
  skew "40 ms, alice 30 up 10 down, bob the reverse" 30 10 10 30
  skew "40 ms, alice 38 up 2 down, bob the reverse" 38 2 2 38
  skew "40 ms, a minute, clocks -100 and +100 millionths" 20 20 20 20 60000 100
}
