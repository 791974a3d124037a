#!/usr/bin/env bats
# mc-spool beside a running recording: marks, the loss window, a disk that fills up; and prune when it is over.

load ../helpers/common
load ../helpers/media

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=10 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 3 \
    -c:v libx264 -preset ultrafast -g 10 -c:a aac -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.mp4
}

# start_writer DIR [options]: mc-spool write, fed by descriptor 7, its --json events in events.json.
start_writer() {
  mkfifo in ready
  mc-spool --json write "$@" --notify-fd 9 <in 9>ready >events.json 2>spool.log &
  WRITER=$!
  own_child $WRITER
  exec 7>in
  read -r _ <ready
}

# await TEXT FILE: until the file has it.
await() {
  timeout 20 tail -n +1 -F "$2" 2>/dev/null | grep -q -m 1 -- "$1" || { echo "no '$1' in $2"; cat "$2"; return 1; }
}

@test "mark: answered when durable, in the manifest, and a chapter of the joined file" {
  local dir
  dir="a directory whose path does not fit into a socket's address/$(printf 'x%.0s' {1..150})"
  start_writer "$dir" --as s/001/alice
  expect_exit 66 mc-spool mark "$dir" "too early"
  cat "$BATS_FILE_TMPDIR/av.mp4" >&7
  await chunk_000001 events.json
  mc-spool --quiet mark "$dir" "Kapitel 1 = Anfang"
  run --separate-stderr mc-spool --json mark "$dir" "第二章"
  assert_success
  at=$(jq .t_ns <<<"$output")
  [ "$at" -gt 2000000000 ]
  kill -KILL $WRITER
  wait $WRITER || true
  exec 7>&-
  mc-spool --quiet close "$dir"
  mc-verify "$dir"
  [ "$(grep -c '^# mark t=' "$dir/manifest")" -eq 2 ]
  mc-join --quiet "$dir" -o out.mp4
  run ffprobe -v error -show_chapters -of json out.mp4
  [ "$(jq -r '.chapters[].tags.title' <<<"$output")" = "$(printf 'Kapitel 1 = Anfang\n第二章')" ]
  [ "$(jq -r '.chapters[1].start_time' <<<"$output" | cut -c1-5)" = "$(jq -rn "($at / 1e9) | tostring" | cut -c1-5)" ]
}

@test "the watchdog hears of frames that are durable, and of nothing else" {
  mkfifo heard
  notified notify >heard &
  own_child $!
  exec 8<heard
  local line
  read -r line <&8
  # Four times in an interval of 40 us: as good as each flush.
  export NOTIFY_SOCKET=$PWD/notify WATCHDOG_USEC=40
  start_writer rec
  read -r line <&8
  assert_equal "$line" READY=1
  # The stream's head alone: nothing that could be lost.
  head -c 1000 "$BATS_FILE_TMPDIR/av.mp4" >&7
  mc-spool --quiet mark rec "served" || true
  run -142 bash -c 'read -rt 0.2 <&8'
  tail -c +1001 "$BATS_FILE_TMPDIR/av.mp4" >&7
  read -r line <&8
  assert_equal "$line" WATCHDOG=1
  exec 7>&-
  wait $WRITER || true
}

@test "mark: without a writer, without text, with too much text" {
  expect_exit 66 mc-spool mark nowhere hello
  mc-spool --quiet write rec <"$BATS_FILE_TMPDIR/av.mp4"
  expect_exit 75 mc-spool mark rec hello
  assert_output --partial "nobody is recording"
  expect_exit 64 mc-spool mark rec ""
  expect_exit 64 mc-spool mark rec "$(head -c 2000 /dev/zero | tr '\0' x)"
  [ ! -e rec/.control ]
}

@test "garbage on the control socket harms nothing" {
  start_writer rec
  cat "$BATS_FILE_TMPDIR/av.mp4" >&7
  await chunk_000001 events.json
  for text in 'x' '{"command":"rm"}' '{"command":"mark","text":7}' "$(head -c 20000 /dev/zero | tr '\0' x)" '[]' ''; do
    node -e 'const s=require("net").connect("rec/.control");s.on("error",()=>process.exit());s.on("close",()=>process.exit());s.on("data",()=>{});s.end(process.argv[1]+"\n")' "$text"
  done
  mc-spool --quiet mark rec fine
  exec 7>&-
  wait $WRITER
  mc-verify rec
  [ "$(grep -c '^# mark ' rec/manifest)" -eq 1 ]
}

@test "the loss window: on SIGUSR1, in --json, and to the reader of --events" {
  mkfifo acks
  exec 8<>acks
  start_writer rec --events 6 6>acks
  cat "$BATS_FILE_TMPDIR/av.mp4" >&7
  await chunk_000001 events.json
  kill -USR1 $WRITER
  await '"event":"status"' events.json
  await 'frame to disk p50' spool.log
  run jq -c 'select(.event=="status") | .window | [.frames_pending, (.p50_us <= .p99_us), (.p99_us <= .max_us), (.flushes > 0)]' events.json
  assert_output '[0,true,true,true]'
  exec 7>&-
  wait $WRITER
  [ "$(jq -r 'select(.event=="finished") | .window.frames_pending' events.json)" -eq 0 ]
  exec 8>&-
}

@test "below the first mark a warning, below the second a clean end: gap disk-full, exit 73; the recording goes on later" {
  free=$(($(stat -f -c '%a * %S' .)))
  expect_exit 73 mc-spool write never --reserve $((free * 2)) <"$BATS_FILE_TMPDIR/av.mp4"
  assert_output --partial "is full"
  [ ! -e never/manifest ]
  run mc-spool --json write rec --warn-below $((free * 2)) <"$BATS_FILE_TMPDIR/av.mp4"
  assert_success
  assert_output --partial '"event":"disk-low"'
  # A disk of 3 MB, in a mount namespace of its own.
  cat >fill.sh <<'END'
mount -t tmpfs -o size=3m none disk || exit 99
loud() { ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=640x360:rate=30 -t "$1" -c:v libx264 -qp 10 -preset ultrafast -g 30 \
  -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 - 2>/dev/null; }
loud 20 | mc-spool --json write disk/rec >fill.json
echo "${PIPESTATUS[1]}" >fill.code
mc-verify disk/rec >fill.verify || exit 98
cp disk/rec/manifest fill.manifest
mount -o remount,size=30m disk
loud 2 | mc-spool --quiet write disk/rec || exit 97
mc-verify disk/rec >>fill.verify || exit 96
cp disk/rec/manifest again.manifest
END
  mkdir disk
  run unshare -m bash fill.sh
  assert_success
  [ "$(cat fill.code)" -eq 73 ]
  grep -q '"event":"disk-low"' fill.json
  grep -q '"event":"disk-full"' fill.json
  grep -q '^# gap track=1 .* reason=disk-full ' fill.manifest
  [ "$(grep -c '^# end' fill.manifest)" -eq 0 ]
  [ "$(grep -c ' reason=disk-full ' again.manifest)" -eq 2 ]
  grep -q '^# end' again.manifest
}

@test "prune: only with a receipt by the given key, and --dry-run only says so" {
  mkdir -p spool/s/001
  mc-spool --quiet write spool/s/001/synced <"$BATS_FILE_TMPDIR/av.mp4"
  mc-spool --quiet write spool/s/001/alone <"$BATS_FILE_TMPDIR/av.mp4"
  head -c 50000 "$BATS_FILE_TMPDIR/av.mp4" | mc-spool --quiet write spool/s/001/open || true
  start_server store
  mc-push --quiet spool/s/001/synced "$SERVER_URL"
  curl -sS -o server.pem "$SERVER_URL/v1/key"
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  expect_exit 64 mc-spool prune spool
  mc-spool --json prune spool --key other.pem >out
  [ "$(jq -r .outcome out | sort -u)" = kept ]
  mc-spool --json prune --dry-run spool --key server.pem >out
  [ "$(jq -r 'select(.outcome=="would-remove").directory' out)" = spool/s/001/synced ]
  [ -e spool/s/001/synced/manifest ]
  rm spool/s/001/synced/.lock
  mc-spool --quiet prune --dry-run spool --key server.pem >/dev/null
  [ ! -e spool/s/001/synced/.lock ]
  # What recovery set aside was never sent: somebody has to look at it before it goes.
  echo frames >spool/s/001/synced/.aside-chunk_000009.m4s-0123456789abcdef
  mc-spool --json prune spool --key server.pem >out
  [ "$(jq -r .outcome out | sort -u)" = kept ]
  grep -q "no server has its '.aside-chunk_000009" out
  rm spool/s/001/synced/.aside-chunk_000009.m4s-0123456789abcdef
  mc-spool --json prune spool/ --key server.pem >out
  [ "$(jq -r 'select(.outcome=="removed").directory' out)" = spool/s/001/synced ]
  [ "$(jq -r 'select(.outcome=="removed").bytes' out)" -gt 10000 ]
  [ ! -e spool/s/001/synced ]
  mc-verify spool/s/001/alone
  mc-verify spool/s/001/open
  [ "$(find spool -name '.pruned*' | wc -l)" -eq 0 ]
  # A receipt that is not true of the manifest vouches for nothing; what a killed run left is finished by the next.
  mc-push --quiet spool/s/001/alone "$SERVER_URL"
  sed -i 's/^bytes .*/bytes 1/;s/"bytes":[0-9]*/"bytes":1/' spool/s/001/alone/receipt-*
  mkdir spool/s/001/.pruned-0123 && touch spool/s/001/.pruned-0123/chunk_000001.m4s
  mc-spool --json prune spool --key server.pem >out
  [ "$(jq -r .outcome out | sort -u)" = kept ]
  [ ! -e spool/s/001/.pruned-0123 ]
}

@test "prune leaves a recording that is being written alone" {
  start_server store
  curl -sS -o server.pem "$SERVER_URL/v1/key"
  start_writer rec
  cat "$BATS_FILE_TMPDIR/av.mp4" >&7
  await chunk_000001 events.json
  mc-spool --json prune rec --key server.pem >out
  [ "$(jq -r '.outcome + " " + .reason' out)" = "kept being recorded" ]
  exec 7>&-
  wait $WRITER
  mc-verify rec
}
