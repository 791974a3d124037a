#!/usr/bin/env bats
# Many hours, simulated: clocks that drift by 100 ppm, a suspend of an hour, time stamps that go back by 3 s, decode times
# past 2^32; nothing is lost, and memory stays flat (never-lose L24). MC_LONG_HOURS=24 makes it a whole day.
# label: long

load ../helpers/common

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=64x48:rate=10 -f lavfi -i sine=sample_rate=48000 -t 1 -c:v libx264 \
    -preset ultrafast -qp 45 -g 10 -bf 0 -c:a aac -b:a 24k -f nut -y template.nut
}

# In memory where there is room: a day has 86,400 chunks.
setup() {
  BATS_TEST_TMPDIR=$(mktemp -d -p /dev/shm "mc-long-XXXXXX")
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
}
teardown() {
  stop_children
  cd / && rm -rf "$BATS_TEST_TMPDIR"
}

resident() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }

# take HOURS START_S MARK_H: records it, looks at the memory twice, and checks all of it.
take() {
  local mux spool take word pictures sounds mux_then spool_then mux_now spool_now
  mkfifo nut fmp4 go marks
  exec 7<>go 8<>marks
  mc-spool --quiet write rec <fmp4 7>&- 8>&- 3>&- &
  spool=$!
  own_child $spool
  mc-mux --quiet <nut >fmp4 7>&- 8>&- 3>&- &
  mux=$!
  own_child $mux
  long_take "$BATS_FILE_TMPDIR/template.nut" "$@" <go >nut 2>&8 7>&- 3>&- &
  take=$!
  own_child $take
  read -r -t 1500 word pictures sounds <&8
  [ "$word" = mark ]
  mux_then=$(resident $mux) spool_then=$(resident $spool)
  echo >&7
  read -r -t 1500 word pictures sounds <&8
  [ "$word" = mark ]
  mux_now=$(resident $mux) spool_now=$(resident $spool)
  echo >&7
  wait $take
  wait $mux
  wait $spool
  mc-verify --json rec >verdict
  [ "$(jq '.video_frames, .audio_frames' verdict | paste -sd' ')" = "$pictures $sounds" ]
  # Decode times rise strictly: mc-verify says so of every file; here, of the chunks.
  awk '/^# chunk/ { split($5, t, "[=/]"); if (n++ && t[2] <= last) exit 1; last = t[2] }' rec/manifest
  # The suspend is the only hole, told for both tracks, and exactly an hour (and what one frame is longer).
  [ "$(grep -c '^# gap' rec/manifest)" -eq 2 ]
  [ "$(grep -c '^# gap.*reason=suspended' rec/manifest)" -eq 2 ]
  [ "$(grep -c '^# clock.*set-back-us=30000' rec/manifest)" -eq 1 ]
  echo "$1 h from decode time $2 s: $pictures pictures, $sounds sounds, $(grep -c '^# chunk' rec/manifest) chunks;" \
    "at $3 h and at the end at most: mc-mux $mux_then and $mux_now KiB, mc-spool $spool_then and $spool_now KiB" >&3
  # 5 % for the allocator's mood, and the list of chunks of the manifest.
  [ "$mux_now" -le $((mux_then + mux_then / 20)) ]
  [ "$spool_now" -le $((spool_then + spool_then / 20)) ]
}

@test "past 2^32 ticks of the picture" { take "${MC_LONG_HOURS:-1}" 47000 "${MC_LONG_MARK:-0.2}"; }

@test "past 2^32 ticks of the sound" { take 1 88000 0.2; }
