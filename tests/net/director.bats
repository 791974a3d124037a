# label: long
# The whole of a session in mid-trouble: five rigs, of which each has its own accident, a server that dies, a rig that never
# comes back and one that never heard. What was recorded is Synced; what is missing is named.
load ../helpers/common
load ../helpers/net
load ../helpers/session

teardown() { stop_rigs; }

pictures() { ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 "$1"; }
gaps() { grep -c '^# gap' "rig-$1/$SESSION/${2:-001}/$1/manifest" || true; }
recorded() { # recorded GUEST MS: it has recorded so much of take 001
  until_view ".guests[] | select(.guest == \"$1\") | .telemetry | .take == \"001\" and .recorded_ms >= $2"
}

@test "five rigs and their accidents: all Synced, gaps only where they must be; whoever is missing is named" {
  start_session alice bob carol dave erin frank grace
  local guest
  for guest in bob grace; do through_wire "$guest"; done
  for guest in alice bob dave erin frank grace; do start_guest "$guest"; done
  until_view '[.guests[] | select(.telemetry.state == "standby")] | length == 6'
  kill -STOP "${WIRE_PIDS[grace]}" # cut off before REC: it cannot know

  mc-direct --quiet rec "$SESSION"
  for guest in alice bob dave erin frank; do recorded "$guest" 1000; done
  start_guest carol # late
  kill -KILL "${GUEST_PIDS[alice]}"
  wait "${GUEST_PIDS[alice]}" || true
  start_guest alice
  kill -STOP "${WIRE_PIDS[bob]}" # cut off after it acknowledged REC, until after STOP
  pkill -KILL -x mc-capture -P "$(pgrep -f "mc-guest supervise $PWD/rig-dave")"
  for pid in $(rig_processes frank) "${GUEST_PIDS[frank]}"; do kill -KILL "$pid" || true; done # never comes back
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  SERVER_LISTEN=${MC_SERVER#http://} start_server store --secret-file secret
  for guest in alice carol dave erin; do recorded "$guest" 4000; done

  mc-direct --quiet stop "$SESSION"
  until_view '.guests[] | select(.guest == "erin") | .telemetry.state == "standby"'
  assert_equal "$(mc-direct --quiet rec "$SESSION")" 002 # while the first is finalizing
  kill -CONT "${WIRE_PIDS[bob]}"
  until_view '.takes[0].guests | map(select(.holding == "all") | .guest) | sort == ["alice", "bob", "carol", "dave", "erin"]'
  expect_exit 75 mc-direct wait "$SESSION" 001 --timeout 0s
  run -0 --separate-stderr mc-direct --json finish "$SESSION" 001 --force
  assert_equal "$(jq -r '.missing[] | split(":")[0]' <<<"$output" | sort | paste -sd ' ')" "frank grace"
  run -1 mc-direct get "$SESSION" 001 -o out
  assert_output --partial frank
  assert_output --partial grace
  mc-direct --quiet stop "$SESSION"

  for guest in alice bob carol dave erin; do
    MC_TOKEN_FILE=$PWD/admin expect_synced "rig-$guest" store "$SESSION/001/$guest"
    mc-join --quiet "rig-$guest/$SESSION/001/$guest" -o joined.mp4
    cmp joined.mp4 "out/$guest.mp4"
    rm joined.mp4
    echo "# $guest: $(pictures "out/$guest.mp4") pictures, $(gaps "$guest") gap lines" >&3
  done
  for guest in alice bob carol erin; do assert_equal "$guest $(gaps "$guest")" "$guest 0"; done
  [ "$(gaps dave)" -ge 1 ]
  # As many pictures as there is time in it: not one is missing where there is no gap.
  for guest in alice bob erin; do
    run -0 ffprobe -v error -select_streams v -show_entries packet=pts_time -of csv=p=0 "out/$guest.mp4"
    sort -n <<<"$output" | awk 'NR > 1 && ($1 - last > 0.15 || $1 - last < 0.05) { exit 1 } { last = $1 }'
  done
}
