# For tests that kill, starve or break mc-spool: the input, the judgement of each round, and the table over all rounds.
# Loaded behind common.

# make_input FILE SECONDS RATE [ffmpeg options]: pictures, one fragment a frame, key frames a second apart.
make_input() {
  ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=96x64:rate=$3" "${@:4}" -t "$2" -c:v libx264 -preset ultrafast -qp 40 \
    -g "$3" -c:a aac -b:a 32k -f nut - | mc-mux --quiet >"$1"
}

# fed ROUND COMMAND...: COMMAND (a way to start mc-spool) records input ($INPUT) into ROUND/rec, what it acknowledges goes to
# ROUND/acks. FED_OPTIONS are frame_feeder's. Prints how it went: "entered-bytes=N fed-bytes=N ended=CODE".
fed() {
  mkdir -p "$1"
  timeout 60 frame_feeder ${FED_OPTIONS:-} "$INPUT" "$1/acks" "${@:2}" 2>"$1/words" | tee "$1/ended"
  [ -s "$1/ended" ] || { echo "$1: hangs"; return 1; }
}

# judged ROUND [ORACLE OPTIONS...]: recovers, and asks the oracle about every acknowledged frame. One line to verdicts; the
# round's files stay only when something is wrong.
judged() {
  local round=$1 code=0 verdict
  shift
  verdict=$(frame_oracle --recover "$@" "$round/rec" "$INPUT" "$round/acks" 2>&1) || code=1
  echo "$round: $(cat "$round/ended" 2>/dev/null) $verdict" >>verdicts
  [ "$code" -eq 0 ] || { echo "$round: $verdict"; cat "$round/words"; return 1; }
  rm -rf "$round"
}

# entered ROUND: the bytes that mc-spool had read.
entered() { sed -n 's/.*entered-bytes=\([0-9]*\) .*/\1/p' "$1/ended"; }

# two_at_a_time FUNCTION ARGUMENT...: FUNCTION for each argument, in two processes. Fails when one fails.
two_at_a_time() {
  local function=$1 i other failed=0 all=("${@:2}")
  ( for ((i = 1; i < ${#all[@]}; i += 2)); do "$function" "${all[i]}" || exit 1; done ) &
  other=$!
  for ((i = 0; i < ${#all[@]}; i += 2)); do "$function" "${all[i]}" || { failed=1; break; }; done
  wait "$other" || failed=1
  return "$failed"
}

# histogram TITLE: how many rounds of verdicts lost how many frames.
histogram() {
  sed -n 's/.* lost=\([0-9]*\).*/\1/p' verdicts | sort -n | uniq -c |
    awk -v title="$1" '{ rounds += $1; line = line sprintf(", %d lost: %d rounds", $2, $1) } END { print title ": " rounds " rounds" line }' >&3
}

# await_lines N FILE: until it has so many lines; it may not be there yet.
await_lines() {
  timeout 90 tail -n +1 -F "$2" 2>/dev/null | head -n "$1" | tail -n 1 | grep -q . || { echo "not $1 lines in $2"; cat "$2"; return 1; }
}

# mount_forgetful DIR: a disk that forgets what was not synced. Sets DISK, the pid that serves it; unmount_all in teardown.
mount_forgetful() {
  mkdir "$1"
  forgetful_fs "$1" >"$1.ready" 3>&- &
  DISK=$!
  own_child "$DISK"
  await_lines 1 "$1.ready"
}

# unmount_all: whatever a test left mounted below its directory, also when nobody serves it any more.
unmount_all() {
  local at
  while read -r at; do umount -l "$at"; done < <(awk -v below="$PWD/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts)
}
