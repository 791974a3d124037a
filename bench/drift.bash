# shellcheck shell=bash disable=SC2154 # what bench/run has set
# Part of bench/run: how far apart the recordings of two rigs are after hours, whose clocks are 100 millionths apart; read
# from the joined files as a plain player shows them (tests/helpers/drifting_rig.cpp says what is simulated).

# drifting NAME [options of bench-drifting-rig]: NAME.times, a line for each minute.
drifting() {
  local name=$1
  shift
  bench-drifting-rig --minutes "${MC_BENCH_DRIFT_MINUTES:-240}" "$@" 2>drifting.log | mc-mux --quiet |
    mc-spool --quiet write "drift-$name"
  mc-join --quiet "drift-$name" -o drift.mp4
  rm -r "drift-$name"
  "$here/tests/helpers/read-true-time" drift.mp4 >"$name.times"
  rm drift.mp4
}

# drift_row NAME FIELD FIELD: of the joined lines, by how much the one is behind the other: at the end, and at most.
drift_row() {
  awk -v a="$2" -v b="$3" '
    { off = $a - $b; if (off < 0) off = -off; if (off > most) most = off; last = off }
    END { printf "%.1f ms\n%.1f ms\n", last, most }' both.times >drift.row
  row "drift: $1" "$(sed -n 1p drift.row)" "$(sed -n 2p drift.row)" "" "< 33 ms"
}

bench_drift() {
  local how
  row "two rigs, ${MC_BENCH_DRIFT_MINUTES:-240} min, clocks +50 and -50 millionths" "at the end" "at most" "" ""
  for how in '' --unsteered; do
    drifting alice --clock-ppm 50 --camera-ppm 20 --sound-ppm -50 $how
    drifting bob --clock-ppm -50 --camera-ppm -20 --sound-ppm 50 $how
    join <(sort alice.times) <(sort bob.times) | sort -n >both.times
    drift_row "picture to picture${how:+, not following the session clock}" 2 4
    drift_row "sound to sound${how:+, not following the session clock}" 3 5
    [ -z "$how" ] || continue
    drift_row "picture to sound, alice" 2 3
    drift_row "picture to sound, bob" 4 5
  done
}
