#!/usr/bin/env bats
# SIGKILL: at each system call of mc-spool, and at random; of mc-spool and of the programs before it. What had been
# acknowledged is there, and of the frames that had entered mc-spool at most one is lost (never-lose L10, L19).
# label: long

load ../helpers/common
load ../helpers/crash
load ../helpers/media

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_input short.fmp4 2 5
  make_input long.fmp4 20 30 -f lavfi -i sine=sample_rate=48000
}

killed_at() {
  fed "call-$1" kill_at_call "$1" mc-spool --quiet write "call-$1/rec" --events 5 >/dev/null &&
    judged "call-$1" --entered-bytes "$(entered "call-$1")" --max-lost 1
}

@test "SIGKILL at each system call" {
  INPUT=$BATS_FILE_TMPDIR/short.fmp4
  fed whole kill_at_call 0 mc-spool --quiet write whole/rec --events 5
  calls=$(sed -n 's/^system-calls=//p' whole/words)
  [ "$calls" -gt 100 ]
  judged whole --entered-all --max-lost 0
  # Two threads: a run has some calls more or less than the next.
  two_at_a_time killed_at $(seq 1 $((calls + 20)))
  [ "$(grep -c ended=137 verdicts)" -ge $((calls - 20)) ]
  histogram "SIGKILL at each of $calls system calls"
}

killed_after() {
  local number=$1 FED_OPTIONS
  RANDOM=$((number * 7919))
  FED_OPTIONS="--kill-after $((RANDOM % 1400)) $((RANDOM % 2000))"
  fed "round-$number" mc-spool --quiet write "round-$number/rec" --events 5 >/dev/null &&
    judged "round-$number" --entered-bytes "$(entered "round-$number")" --max-lost 1
}

@test "200 times kill -9 at random while an unpaced input comes in" {
  INPUT=$BATS_FILE_TMPDIR/long.fmp4
  two_at_a_time killed_after $(seq 1 200)
  [ "$(wc -l <verdicts)" -eq 200 ]
  [ "$(grep -c ended=137 verdicts)" -ge 195 ]
  histogram "kill -9 of mc-spool, unpaced"
}

@test "a recording that is killed and continued, ten times over" {
  make_input other.fmp4 20 30 -f lavfi -i sine=frequency=1000:sample_rate=48000
  runs=()
  for i in $(seq 1 10); do
    RANDOM=$((i * 104729))
    INPUT=$BATS_FILE_TMPDIR/long.fmp4
    [ $((i % 2)) -eq 1 ] || INPUT=other.fmp4
    FED_OPTIONS="--kill-after $((10 + RANDOM % 600)) $((RANDOM % 2000))" fed "run-$i" mc-spool --quiet write rec --events 5
    runs+=("$INPUT" "run-$i/acks")
    frame_oracle --entered-bytes "$(entered "run-$i")" --max-lost 1 --recover rec "${runs[@]}"
  done
  mc-spool --quiet write rec --events 5 <"$BATS_FILE_TMPDIR/long.fmp4" 5>acks
  frame_oracle --recover --entered-all --max-lost 0 rec "${runs[@]}" "$BATS_FILE_TMPDIR/long.fmp4" acks
  grep -q "^# end " rec/manifest
}

# live VICTIM-NUMBER: a live pipeline, of which VICTIM dies behind some acknowledgements. What mc-mux wrote is kept, and what
# mc-spool had not read of it lies in the pipe.
live() {
  local victim=${1%-*} round=$1 capture mux spool tee acks line left
  RANDOM=$(((${1##*-} + 1) * 7919))
  mkdir "$round"
  mkfifo "$round"/{nut,fmp4,in,events}
  exec 7<>"$round/in" 8<>"$round/events"
  mc-spool --quiet write "$round/rec" --events 5 <"$round/in" 5>&8 7>&- 8>&- 2>"$round/words" 3>&- &
  spool=$!
  tee "$round/copy" <"$round/fmp4" >"$round/in" 2>/dev/null 7>&- 8>&- 3>&- &
  tee=$!
  mc-mux --quiet <"$round/nut" >"$round/fmp4" 7>&- 8>&- 3>&- 2>/dev/null &
  mux=$!
  mc-capture --quiet --video lavfi:testsrc2=size=96x64:rate=30 --audio lavfi:sine=sample_rate=48000 >"$round/nut" 7>&- 8>&- 3>&- 2>/dev/null &
  capture=$!
  for ((acks = 20 + RANDOM % 100; acks > 0; acks--)); do
    read -r -t 30 line <&8 || { echo "$round: no acknowledgement"; kill -KILL "$capture" "$mux" "$tee" "$spool"; return 1; }
    echo "$line" >>"$round/acks"
  done
  kill -KILL "${!victim}"
  if [ "$victim" = spool ]; then
    wait "$spool" 2>/dev/null
    kill -KILL "$capture"
  fi
  [ "$victim" = spool ] || exec 7<&- # the pipe's end is to be seen
  wait "$capture" 2>/dev/null
  wait "$mux" 2>/dev/null
  wait "$tee" 2>/dev/null
  wait "$spool" 2>/dev/null
  echo "ended=$?" >"$round/ended"
  left=0
  if [ "$victim" = spool ]; then
    left=$(dd iflag=nonblock bs=1M 2>/dev/null <"/dev/fd/7" | wc -c)
    exec 7<&-
  fi
  # What it had said before it died.
  echo '{"event":"end"}' >&8
  while read -r line <&8 && [ "$line" != '{"event":"end"}' ]; do echo "$line" >>"$round/acks"; done
  exec 8>&-
  INPUT=$round/copy judged "$round" --entered-bytes "$(($(stat -c %s "$round/copy") - left))" --max-lost 1
}

@test "kill -9 in a live pipeline: 20 times mc-capture, 20 times mc-mux, 20 times mc-spool" {
  two_at_a_time live capture-{1..20} mux-{1..20} spool-{1..20}
  [ "$(wc -l <verdicts)" -eq 60 ]
  mv verdicts all
  for victim in capture mux spool; do
    grep "^$victim" all >verdicts
    histogram "kill -9 of mc-$victim, live"
  done
}
