#!/usr/bin/env bats
# The time of a recording follows the session clock, whatever the crystals of the rig do (mc-capture(1), CONTROL): measured
# from what is seen and heard in the joined files. `bench/run drift` is the same over hours.

load ../helpers/common

# record NAME MINUTES [options of drifting_rig]: NAME.mp4, and NAME.times by read-true-time.
record() {
  local name=$1 minutes=$2
  shift 2
  "$MC_HELPERS/drifting_rig" --minutes "$minutes" "$@" 2>err.$name | mc-mux --quiet | mc-spool --quiet write $name
  mc-verify --quiet $name
  mc-join --quiet $name -o $name.mp4
  "$MC_SOURCE/tests/helpers/read-true-time" $name.mp4 >$name.times
  [ "$(wc -l <$name.times)" -eq "$minutes" ]
}

# bats test_tags=long
@test "two rigs whose clocks drift apart by 0.1 ms a second stay together, in the picture and in the sound" {
  record alice 10 --clock-ppm 50 --camera-ppm 20 --sound-ppm -50
  record bob 10 --clock-ppm -50 --camera-ppm -20 --sound-ppm 50
  # Each is right within the bound of its clock, which is half of the 40 ms there and back and what drifted since.
  awk '{ for (i = 2; i <= 3; i++) if ($i > 21.5 || $i < -21.5) { print FILENAME, $0; bad = 1 } } END { exit bad }' alice.times bob.times
  # And at the end, less than a frame from each other: picture, sound, and picture and sound of one file.
  join <(sort alice.times) <(sort bob.times) | sort -n | tail -n 1 | awk '{
    print "alice", $2, $3, "bob", $4, $5
    split($2 - $4 " " $3 - $5 " " $2 - $3 " " $4 - $5, off)
    for (i in off) if (off[i] > 10 || off[i] < -10) bad = 1
    exit bad }'
  # The microphone's own drift is in the ledger, once for each chunk. It is measured from the start on, where the session
  # clock was still uncertain by some milliseconds.
  [ "$(grep -c '^# drift ' alice/manifest)" -ge 580 ]
  sed -n 's/^# drift .*track=2 ppb=\([-0-9]*\) .*/\1/p' alice/manifest | tail -n 1 | awk '{ print; exit !($1 > -80000 && $1 < -30000) }'
}

# bats test_tags=long
@test "and would not, did they not follow the session clock" {
  record alice 10 --clock-ppm 50 --sound-ppm -50 --unsteered
  record bob 10 --clock-ppm -50 --sound-ppm 50 --unsteered
  join <(sort alice.times) <(sort bob.times) | sort -n | awk 'NR == 1 { first = $2 - $4 } { last = $2 - $4 } END { d = last - first; print d; exit !(d > 33 || d < -33) }'
}
