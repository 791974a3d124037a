#!/usr/bin/env bats
# Synced is not computed from what the server remembers: files that are lost or changed in the store between their last 201
# and the manifest are named, by a server that kept running as by one that was started again (never-lose F2, F6, F9).

load ../helpers/common
load ../helpers/net

ROOM=studio-a/001/alice
HELD=store/$ROOM

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_recording spool/$ROOM 6
}

# sent_but_the_manifest: everything is answered 201, the manifest is still open; `whole` has the closed one.
sent_but_the_manifest() {
  cp -r "$BATS_FILE_TMPDIR/spool" .
  mv spool/$ROOM/manifest whole
  grep -v '^# end' whole >spool/$ROOM/manifest
  start_server store
  run -1 mc-push spool/$ROOM "$SERVER_URL"
  [ "$(find $HELD -name 'chunk_*' | wc -l)" -eq 6 ]
  cp whole spool/$ROOM/manifest
}

# until the server has read back all 7 files (in the background, after a tenth of a second), so that it has its notes.
read_back() {
  for ((i = 0; i < 200; i++)); do
    [ "$(curl -sS "$SERVER_URL/metrics" | sed -n 's/^maycast_files_read_back_total //p')" -lt 7 ] || return 0
    read -r -t 0.05 <> <(:) || true
  done
  curl -sS "$SERVER_URL/metrics"
  return 1
}

restart() {
  kill -TERM "$SERVER_PID"
  wait "$SERVER_PID"
  start_server store
}

# flip FILE: one bit, in the middle.
flip() {
  local at=$(($(stat -c %s "$1") / 2)) byte
  byte=$(od -An -tu1 -j$at -N1 "$1")
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}

# asked: PUT of the manifest by hand; the answer is in `answer`.
asked() {
  curl -sS -o answer -T whole -H "Repr-Digest: sha-256=:$(openssl dgst -sha256 -binary whole | base64):" \
    -H "Maycast-Recording: $(sed -n 's/^# recording \([0-9a-f]*\).*/\1/p' whole)" "$SERVER_URL/v1/recordings/$ROOM/manifest"
  jq -r '"synced=\(.synced)", (.faults[] | "\(.name) \(.problem)")' answer
}

# harm: deletes one stored file, flips a bit in another, replaces a third one by a file of the same size.
harm() {
  rm $HELD/chunk_000001.m4s
  flip $HELD/chunk_000003.m4s
  head -c "$(stat -c %s $HELD/chunk_000005.m4s)" /dev/urandom >same
  mv same $HELD/chunk_000005.m4s
}
ALL_THREE=$'synced=false\nchunk_000001.m4s missing\nchunk_000003.m4s damaged\nchunk_000005.m4s damaged'

# healed: mc-push is told the same, sends these three and no others, and is Synced.
healed() {
  mc-push --json spool/$ROOM "$SERVER_URL" >events
  [ "$(jq -r 'select(.event == "uploaded").name' events | sort | paste -sd' ')" = "$1" ]
  expect_synced spool store $ROOM
}

@test "a file deleted, one flipped, one replaced: named by a server that was started again" {
  sent_but_the_manifest
  harm
  restart
  [ "$(asked)" = "$ALL_THREE" ]
  healed "chunk_000001.m4s chunk_000003.m4s chunk_000005.m4s"
  [ "$(find $HELD -name '.damaged-*' | wc -l)" -eq 2 ]
}

@test "the same of a server that kept running, behind its read-back" {
  sent_but_the_manifest
  read_back
  harm
  [ "$(asked)" = "$ALL_THREE" ]
  healed "chunk_000001.m4s chunk_000003.m4s chunk_000005.m4s"
}

@test "the same of a server that kept running, before its read-back" {
  sent_but_the_manifest
  harm
  [ "$(asked)" = "$ALL_THREE" ]
  healed "chunk_000001.m4s chunk_000003.m4s chunk_000005.m4s"
}

@test "a flipped bit with the old modification time is found, whatever was noted before" {
  sent_but_the_manifest
  read_back
  touch -r $HELD/chunk_000002.m4s then
  flip $HELD/chunk_000002.m4s
  touch -r then $HELD/chunk_000002.m4s
  [ "$(stat -c %Y $HELD/chunk_000002.m4s)" = "$(stat -c %Y then)" ]
  [ "$(asked)" = $'synced=false\nchunk_000002.m4s damaged' ]
  healed chunk_000002.m4s
}

@test "a receipt was given: what is lost behind it is named all the same, and the receipt is not given again" {
  cp -r "$BATS_FILE_TMPDIR/spool" .
  cp spool/$ROOM/manifest whole
  start_server store
  mc-push spool/$ROOM "$SERVER_URL"
  read_back
  harm
  [ "$(asked)" = "$ALL_THREE" ]
  restart
  [ "$(asked)" = "$ALL_THREE" ]
  healed "chunk_000001.m4s chunk_000003.m4s chunk_000005.m4s"
}

@test "a chunk that is a symbolic link, a directory or cannot be read is no chunk" {
  sent_but_the_manifest
  mv $HELD/chunk_000001.m4s elsewhere
  ln -s "$PWD/elsewhere" $HELD/chunk_000001.m4s
  rm $HELD/chunk_000002.m4s
  mkdir $HELD/chunk_000002.m4s
  : >$HELD/chunk_000004.m4s
  asked >told
  grep -q synced=false told
  grep -q 'chunk_000002.m4s' told
  grep -q 'chunk_000004.m4s damaged' told
}
