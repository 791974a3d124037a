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

teardown() {
  stop_children
  ! mountpoint -q full || umount full
}

# mount_small SIZE: a file system of its own at ./full, that can be filled.
mount_small() {
  mkdir full
  mount -t tmpfs -o "size=$1" tmpfs full || { [ "$(id -u)" -ne 0 ] && skip "only root can mount"; fail "cannot mount a tmpfs"; }
}

# To the last byte, the last page of the audit log too.
fill() {
  ! dd if=/dev/zero of=full/filler bs=4k status=none 2>/dev/null
  ! yes '' 2>/dev/null | head -c 4096 2>/dev/null >>full/store/.audit.jsonl
  ! echo >>full/store/.audit.jsonl
} 2>/dev/null

# An upload to TARGET whose connection breaks behind the first 100 kB.
break_an_upload() {
  head -c 400000 /dev/urandom >large
  exec 7<>"/dev/tcp/127.0.0.1/${SERVER_URL##*:}"
  printf 'PUT %s HTTP/1.1\r\nHost: x\r\nMaycast-Recording: %s\r\nRepr-Digest: sha-256=:%s:\r\nContent-Length: 400000\r\nExpect: 100-continue\r\n\r\n' \
    "$1" "$2" "$(openssl dgst -sha256 -binary large | base64)" >&7
  read -r line <&7
  [[ $line == "HTTP/1.1 100 Continue"* ]]
  head -c 100000 large >&7
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

@test "a full store: what is Synced goes, with its line, and what a dead server was receiving goes as well" {
  mount_small 3m
  start_server full/store
  mc-push --quiet spool/$ROOM "$SERVER_URL"
  mc-push --quiet spool/studio-b/001/carol "$SERVER_URL"
  id=$(sed -n 's/^# recording \([0-9a-f]*\) .*/\1/p' spool/studio-b/001/carol/manifest)
  break_an_upload /v1/recordings/studio-b/001/carol/chunk_000009.m4s "$id"
  until ls full/store/studio-b/001/carol/.stage-* 2>/dev/null; do :; done
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  exec 7<&-
  fill
  run --separate-stderr mc-serve prune --store file:full/store --synced --older-than 0s
  assert_success
  assert_line --regexp "^$ROOM: removed"
  assert_line --regexp "^studio-b/001/carol: removed"
  [ "$(grep -c '"event":"pruned"' full/store/.audit.jsonl)" -eq 2 ]
  grep '"event":"pruned"' full/store/.audit.jsonl | grep -q "\"recording\":\"$id\""
  run find full/store -mindepth 1 -not -name '.*'
  assert_output ''
}

@test "a full store: parked uploads give their room back, and the server takes files again after a prune" {
  mount_small 3m
  start_server full/store
  mc-push --quiet spool/$ROOM "$SERVER_URL"
  id=$(printf 'e%.0s' {1..32})
  break_an_upload /v1/recordings/studio-b/001/dora/chunk_000001.m4s "$id"
  exec 7<&-
  metric() { curl -sS "$SERVER_URL/metrics" | sed -n "s/^maycast_$1 //p"; }
  until [ "$(metric parked_uploads)" = 1 ]; do :; done
  bytes=$(metric parked_bytes)
  [ "$bytes" -gt 0 ]
  [ "$(stat -c %s full/store/studio-b/001/dora/.stage-*)" = "$bytes" ]
  fill
  [ "$(metric store_free_bytes)" -lt 4096 ]
  put_large() {
    curl -sS -o answer -w '%{http_code}' -T large -H "Maycast-Recording: $id" \
      -H "Repr-Digest: sha-256=:$(openssl dgst -sha256 -binary large | base64):" \
      "$SERVER_URL/v1/recordings/studio-b/001/dora/chunk_000002.m4s"
  }
  head -c 2000000 /dev/urandom >large
  [ "$(put_large)" = 507 ]
  [ ! -e full/store/studio-b ]
  [ "$(metric parked_uploads)" = 0 ]
  fill
  head -c 20000 /dev/urandom >large
  [ "$(put_large)" = 507 ]
  run --separate-stderr mc-serve prune --store file:full/store --synced --older-than 0s
  assert_line --regexp "^$ROOM: removed"
  [ "$(put_large)" = 201 ]
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
