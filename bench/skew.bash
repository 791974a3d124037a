# shellcheck shell=bash disable=SC2154 # what bench/run has set
# Part of bench/run: how far apart two rigs' recordings of one moment are, read from the pictures.

# burned FILE: of each picture "SECONDS MS": where it is in the file, and the clock that was burned into it (burn-clock).
burned() {
  paste -d ' ' \
    <(ffprobe -v error -select_streams v -show_entries frame=pts_time -of csv=p=0 "$1" | tr -d ',') \
    <(ffmpeg -nostdin -v error -i "$1" -map 0:v -fps_mode passthrough -vf crop=192:8:0:0,scale=24:1:flags=area,format=gray \
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
# ahead FILE: by how many milliseconds the burned clock is ahead of the file's own time: the median of its pictures.
ahead() { burned "$1" | awk '{ print $2 - $1 * 1000 }' | median; }

# skew NAME ALICE-UP ALICE-DOWN BOB-UP BOB-DOWN: one way delays in milliseconds. Bob's monotonic clock is five seconds off.
skew() {
  local name=$1 guest url wire base pids=() urls=() spool=$PWD/skew-$((++skews)) session=skew-$skews
  mkdir "$spool"
  mapfile -t urls < <(mc-direct --quiet new "$session" --guest alice --guest bob)
  for guest in alice bob; do
    mkfifo "$spool/wire" "$spool/ready"
    if [ "$guest" = alice ]; then wire=("$2" "$3") url=${urls[0]} base=(); else
      wire=("$4" "$5") url=${urls[1]} base=(unshare --time --fork --kill-child --monotonic 5 --boottime 5)
    fi
    "$here/tests/helpers/forward" --up "${wire[0]}" --down "${wire[1]}" "$MC_SERVER" 9>"$spool/wire" &
    pids+=("$!")
    read -r wire <"$spool/wire"
    "${base[@]}" mc-guest --quiet --spool "$spool" --notify-fd 9 --video "x11:$display" --rate 30 --size 320x64 --preset ultrafast \
      "${url/"$MC_SERVER"/"$wire"}" 9>"$spool/ready" &
    pids+=("$!")
    server_pids+=("${pids[@]}")
    read -r <"$spool/ready"
    rm "$spool/wire" "$spool/ready"
  done
  # Until each clock has had its first exchanges.
  until mc-direct --json status "$session" | jq -e 'all(.guests[].telemetry; .state == "standby" and .clock_bound_us != null)' >/dev/null; do :; done
  mc-direct --quiet rec "$session" >take
  until mc-direct --json status "$session" | jq -e 'all(.guests[].telemetry; .recorded_ms >= 6000)' >/dev/null; do :; done
  mc-direct --quiet stop "$session" >take
  mc-direct --quiet wait "$session" --timeout 60s
  mc-direct --quiet get "$session" "$(cat take)" -o "$spool/out"
  # unshare passes no signal on.
  kill -TERM "${pids[1]}" "$(pgrep -P "${pids[3]}")"
  wait "${pids[1]}" "${pids[3]}" || true
  kill -TERM "${pids[0]}" "${pids[2]}" 2>/dev/null || true
  local bounds
  bounds=$(sed -n 's/^# t0 .*bound-us=\([0-9]*\).*/\1/p' "$spool/$session/001"/{alice,bob}/manifest | awk '{ s += $1 } END { print s / 1000 }')
  row "skew: $name" "$(awk -v a="$(ahead "$spool/out/alice.mp4")" -v b="$(ahead "$spool/out/bob.mp4")" 'BEGIN { printf "%.1f ms", a - b }')" \
    "$bounds ms" "" "within the bounds' sum; < 33 ms"
}

bench_skew() {
  local display skews=0 screen=$PWD/screen url
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
  row "one moment in two recordings" "apart" "bounds' sum" "" ""
  skew "no delay" 0 0 0 0
  skew "40 ms round trip, alike" 20 20 20 20
  skew "40 ms, alice 30 up 10 down" 30 10 20 20
  skew "40 ms, alice 30 up 10 down, bob the reverse" 30 10 10 30
  skew "40 ms, alice 38 up 2 down, bob the reverse" 38 2 2 38
}
