# mc-serve prune: what is Synced for long enough goes, and nothing else.
load ../helpers/common

ROOM=studio-a/001/alice

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=160x120:rate=10 -t 3 -c:v libx264 -preset ultrafast -g 10 -bf 0 \
    -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 -y video.mp4
  for room in $ROOM studio-a/001/bob studio-b/001/carol; do mc-spool --quiet write spool/$room <video.mp4; done
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  unset MC_STORE
  cp -r "$BATS_FILE_TMPDIR/spool" .
}

prune() { mc-serve prune --store file:store --synced "$@"; }

@test "beside a running server: what is Synced goes and is logged, what is not stays, and can be sent again" {
  start_server store
  mc-push spool/$ROOM "$SERVER_URL"
  mc-push spool/studio-b/001/carol "$SERVER_URL"
  mc-push spool/studio-a/001/bob "$SERVER_URL"
  rm store/studio-a/001/bob/chunk_000002.m4s
  id=$(sed -n 's/^# recording \([0-9a-f]*\) .*/\1/p' spool/$ROOM/manifest)

  run --separate-stderr prune --older-than 1h
  assert_success
  assert_line --regexp "^$ROOM: kept: Synced at 20.*Z, which is not long enough ago\$"
  run --separate-stderr prune --older-than 0s --dry-run
  assert_success
  assert_line --regexp "^$ROOM: would be removed, 7 files, .*, Synced at 20"
  assert_line "studio-a/001/bob: kept: not Synced: 'chunk_000002.m4s' is missing"
  [ -e store/$ROOM/manifest ]
  run ! grep -q '"event":"pruned"' store/.audit.jsonl

  run --separate-stderr prune --older-than 0s
  assert_success
  assert_line --regexp "^$ROOM: removed, 7 files, "
  assert_line "studio-a/001/bob: kept: not Synced: 'chunk_000002.m4s' is missing"
  [ ! -e store/$ROOM ]
  [ ! -e store/studio-b ]
  diff -r -x '.*' -x 'chunk_000002.m4s' spool/studio-a/001/bob store/studio-a/001/bob
  [ "$(grep -c '"event":"pruned"' store/.audit.jsonl)" -eq 2 ]
  grep '"event":"pruned"' store/.audit.jsonl | grep -q "\"path\":\"$ROOM\",\"recording\":\"$id\",.*\"files\":7"

  # The server that runs has not been told of it.
  run -66 mc-verify "$SERVER_URL/v1/recordings/$ROOM/"
  mc-push spool/$ROOM "$SERVER_URL"
  diff -r -x '.*' -x 'receipt-*' spool/$ROOM store/$ROOM # a new receipt: it was made anew
  mc-verify spool/$ROOM "$SERVER_URL"
  mc-push spool/studio-a/001/bob "$SERVER_URL"
  run --separate-stderr prune --older-than 0s --json
  assert_success
  [ "$(jq -r '.event + " " + .path' <<<"$output" | sort | paste -sd ' ')" = "pruned $ROOM pruned studio-a/001/bob" ]
}

@test "by the key that is pinned: another one's receipts do not count" {
  start_server store
  mc-push spool/$ROOM "$SERVER_URL"
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  run --separate-stderr prune --older-than 0s --key other.pem
  assert_success
  assert_output "$ROOM: kept: not Synced: it has no receipt by the key"
  run --separate-stderr prune --older-than 0s --key other.pem --key store/.receipt-key.pub.pem
  assert_line --regexp "^$ROOM: removed"
}

@test "guests send while it runs again and again: each of them comes to Synced" {
  start_server store
  for n in 1 2 3; do
    for room in $ROOM studio-a/001/bob studio-b/001/carol; do
      rm -f spool/$room/receipt-*
      mc-push --quiet spool/$room "$SERVER_URL" 2>>push.log 3>&- &
      own_child $!
    done
    while jobs -rp | grep -qvx "$SERVER_PID"; do prune --older-than 0s >>pruned.log; done
    for room in $ROOM studio-a/001/bob studio-b/001/carol; do ls spool/$room/receipt-*; done
  done
  prune --older-than 0s >>pruned.log
  run find store -mindepth 1 -not -name '.*'
  assert_output ''
  run find store -name '.prun*' -type d
  assert_output ''
  grep -c ': removed' pruned.log >&3
}

@test "without --synced, with a bad time, or of no store: said, and nothing is made" {
  start_server store
  mc-push spool/$ROOM "$SERVER_URL"
  expect_exit 64 mc-serve prune --store file:store --older-than 0s
  assert_output --partial 'hint: say so with --synced'
  expect_exit 64 mc-serve prune --store file:store --synced
  expect_exit 64 prune --older-than soon
  expect_exit 64 mc-serve prune --store s3://bucket --synced --older-than 0s
  expect_exit 66 mc-serve prune --store file:nothing --synced --older-than 0s
  [ ! -e nothing ]
  mkdir bare
  expect_exit 66 mc-serve prune --store file:bare --synced --older-than 0s
  [ -z "$(ls -A bare)" ]
  [ -e store/$ROOM/manifest ]
}
