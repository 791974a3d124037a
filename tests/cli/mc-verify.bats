#!/usr/bin/env bats
# mc-verify: whatever is wrong with a recording is found and named.

load ../helpers/common

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=160x120:rate=10 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 3.5 \
    -c:v libx264 -preset ultrafast -g 10 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 -y av.mp4
  mc-spool --quiet write whole/studio-a/001/alice <av.mp4
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  cp -r "$BATS_FILE_TMPDIR/whole/." .
  RECORDING=studio-a/001/alice
}

# flip FILE OFFSET: one bit of that byte.
flip() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "$(printf '\\x%02x' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "an intact recording: exit 0, and a summary" {
  run --separate-stderr mc-verify "$RECORDING"
  assert_success
  assert_output --partial 'studio-a/001/alice: closed, 4 chunks, 35 pictures'
  assert_output --partial 'all is well'
}

# flips_in NAMES...: at four places of each of these files.
flips_in() {
  for name; do
    size=$(stat -c %s "$RECORDING/$name")
    for at in 0 40 $((size / 2)) $((size - 1)); do
      cp "$RECORDING/$name" keep
      flip "$RECORDING/$name" "$at"
      run --separate-stderr mc-verify "$RECORDING"
      [ "$status" -eq 1 ] || fail "$name byte $at: exit $status"
      assert_line --regexp "^$name: damaged: "
      cp keep "$RECORDING/$name"
    done
  done
}

@test "a flipped byte in a file: exit 1, and the file's name" { flips_in init_001.mp4 chunk_000003.m4s; }

# bats test_tags=long
@test "a flipped byte in any file: exit 1, and the file's name" {
  flips_in init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s chunk_000004.m4s
}

# flips_in_manifest EVERY: at three places of every EVERYth line.
flips_in_manifest() {
  cp "$RECORDING/manifest" keep
  start=0
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    places=($((start + 1)) $((start + ${#line} / 2)) $((start + ${#line})))
    [ $((number % $1)) -eq 0 ] || places=()
    for at in "${places[@]}"; do
      cp keep "$RECORDING/manifest"
      flip "$RECORDING/manifest" "$at"
      run --separate-stderr mc-verify "$RECORDING"
      [ "$status" -eq 1 ] || fail "line $number, byte $at: exit $status: $output"
      assert_line --regexp '^manifest: damaged: '
    done
    start=$((start + ${#line} + 1))
  done <keep
}

@test "a flipped byte in a line of the manifest: exit 1, and 'manifest' with the line" { flips_in_manifest 4; }

# bats test_tags=long
@test "a flipped byte in any line of the manifest: exit 1, and 'manifest' with the line" { flips_in_manifest 1; }

@test "a missing file: exit 1, and its name" {
  rm "$RECORDING/chunk_000003.m4s"
  run -1 --separate-stderr mc-verify "$RECORDING"
  assert_line --regexp '^chunk_000003.m4s: missing: '
}

@test "an open recording is reported as open and is no fault" {
  sed -i '$d' "$RECORDING/manifest"
  run --separate-stderr mc-verify "$RECORDING"
  assert_success
  assert_output --partial ': open, 4 chunks'
}

@test "a file that is not listed is noted" {
  cp "$RECORDING/chunk_000004.m4s" "$RECORDING/chunk_000009.m4s"
  run --separate-stderr mc-verify "$RECORDING"
  assert_success
  assert_line --partial 'note: chunk_000009.m4s'
}

@test "the verdict as JSON" {
  rm "$RECORDING/chunk_000003.m4s"
  run -1 --separate-stderr mc-verify --json "$RECORDING"
  assert_output --partial '"ok":false'
  assert_output --partial '"name":"chunk_000003.m4s","problem":"missing"'
  [ "${#lines[@]}" -eq 1 ]
}

@test "a server that holds the same: exit 0; one file less, other or more there: exit 1 and its name" {
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  mc-verify "$RECORDING" "$SERVER_URL"
  held=store/studio-a/001/alice
  rm "$held/chunk_000002.m4s"
  flip "$held/chunk_000003.m4s" 700
  run -1 --separate-stderr mc-verify "$RECORDING" "$SERVER_URL"
  assert_line --regexp '^chunk_000002.m4s: missing-there: '
  assert_line --regexp '^chunk_000003.m4s: differs-there: '
  refute_line --regexp '^chunk_000001.m4s'
  cp "$RECORDING/chunk_000002.m4s" "$RECORDING/chunk_000003.m4s" "$held"
  cp "$RECORDING/chunk_000001.m4s" "$held/chunk_000007.m4s"
  run -1 --separate-stderr mc-verify "$RECORDING" "$SERVER_URL"
  assert_line --regexp '^chunk_000007.m4s: extra-there: '
}

@test "another receipt there is fine when it is true as well, and a finding when it is not" {
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  receipt=$(cd "$RECORDING" && echo receipt-*)
  rm "store/$RECORDING/$receipt"
  cp -r "$RECORDING" again
  rm "again/$receipt"
  mc-push again "$SERVER_URL"
  run ! cmp "$RECORDING/$receipt" "store/$RECORDING/$receipt"
  mc-verify "$RECORDING" "$SERVER_URL"
  sed -i 's/^chunks .*/chunks 9/' "store/$RECORDING/$receipt"
  run -1 --separate-stderr mc-verify "$RECORDING" "$SERVER_URL"
  assert_line --regexp "^$receipt: differs-there: "
}

@test "a server that holds nothing of it" {
  start_server store
  run -1 --separate-stderr mc-verify "$RECORDING" "$SERVER_URL"
  assert_line --regexp '^manifest: missing-there: '
}

@test "a server that cannot be reached is 75, and the local verdict is given" {
  start_server store
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  run -75 --separate-stderr mc-verify "$RECORDING" "$SERVER_URL"
  assert_output --partial 'all is well'
}

@test "receipts: right with the key, a finding when changed or of another key" {
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  curl -sS -o server.pem "$SERVER_URL/v1/key"
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  run --separate-stderr mc-verify --key server.pem "$RECORDING"
  assert_success
  assert_output --partial 'receipt of key'
  mc-verify --key other.pem --key server.pem "$RECORDING" "$SERVER_URL"
  run -1 --separate-stderr mc-verify --key other.pem "$RECORDING"
  assert_line --regexp '^receipt-[0-9a-f]+: untrusted: '
  receipt=$(cd "$RECORDING" && echo receipt-*)
  flip "$RECORDING/$receipt" 30
  run -1 --separate-stderr mc-verify --key server.pem "$RECORDING"
  assert_line --regexp "^$receipt: "
}

@test "no recording is 66, junk is named" {
  run -66 mc-verify none
  mkdir empty
  run -66 mc-verify empty
  mkdir junk
  head -c 3000 /dev/urandom >junk/manifest
  run -1 --separate-stderr mc-verify junk
  assert_line --regexp '^manifest: damaged: '
  : >junk/manifest
  run -1 --separate-stderr mc-verify junk
  assert_line --regexp '^manifest: damaged: '
}

# start_held: a server that holds the recording, its key in server.pem.
start_held() {
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  curl -sS -o server.pem "$SERVER_URL/v1/key"
  URL=$SERVER_URL/v1/recordings/$RECORDING/
  HELD=store/$RECORDING
}

@test "a recording's URL: what the store holds is read to the last byte" {
  start_held
  run --separate-stderr mc-verify --key server.pem "$URL"
  assert_success
  assert_output --partial "$RECORDING: closed, 4 chunks, 35 pictures"
  assert_output --partial "receipt of key $(basename "$HELD"/receipt-* | cut -d- -f2): all is well"
  mc-verify "${URL%/}"
  # What the server has in mind of a file does not count: the bytes do.
  flip "$HELD/chunk_000003.m4s" 700
  truncate -s -1 "$HELD/chunk_000001.m4s"
  rm "$HELD/chunk_000002.m4s"
  cp "$RECORDING/chunk_000001.m4s" "$HELD/chunk_000007.m4s"
  run -1 --separate-stderr mc-verify "$URL"
  assert_line --regexp '^chunk_000001.m4s: damaged: .* bytes are held'
  assert_line --regexp '^chunk_000002.m4s: missing: '
  assert_line --regexp '^chunk_000003.m4s: damaged: its SHA-256'
  assert_line 'note: chunk_000007.m4s: held, but not listed'
  refute_line --regexp '^chunk_000004'
  run -1 --separate-stderr mc-verify --json "$URL"
  [ "$(jq -r '.ok, .closed, .path, (.findings | length)' <<<"$output" | paste -sd ' ')" = "false true $RECORDING 3" ]
}

@test "a recording's URL: its manifest and receipts in the store are judged" {
  start_held
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  run -1 --separate-stderr mc-verify --key other.pem "$URL"
  assert_line --regexp '^receipt-[0-9a-f]+: untrusted: '
  cp "$HELD/manifest" keep
  flip "$HELD/manifest" 300
  run -1 --separate-stderr mc-verify "$URL"
  assert_line --regexp '^manifest: damaged: '
  rm "$HELD/manifest"
  run -1 --separate-stderr mc-verify "$URL"
  assert_line --regexp '^manifest: missing: '
  cp keep "$HELD/manifest"
  mkdir store/studio-a/002
  cp -r "$HELD" store/studio-a/002/alice
  run -1 --separate-stderr mc-verify "$SERVER_URL/v1/recordings/studio-a/002/alice/"
  assert_line --regexp "^manifest: wrong-name: it is of '$RECORDING'"
}

@test "a recording's URL: nothing held is 66, no server is 75, no recording's URL is 64" {
  start_server store
  run -66 --separate-stderr mc-verify "$SERVER_URL/v1/recordings/studio-a/001/alice/"
  for url in "$SERVER_URL" "$SERVER_URL/" "$SERVER_URL/v1/recordings/studio-a/" "$SERVER_URL/v1/recordings/a/001/b/manifest" "$SERVER_URL/v1/recordings/a/001/%zz"; do
    run -64 --separate-stderr mc-verify "$url"
    [[ $stderr == *"not the URL of a recording"*"hint: it looks like"* ]]
  done
  run -64 --separate-stderr mc-verify "$SERVER_URL/v1/recordings/studio-a/001/alice/" "$SERVER_URL"
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  run -75 --separate-stderr mc-verify "$SERVER_URL/v1/recordings/studio-a/001/alice/"
}

@test "--receipt: proven by the pinned key, with no server and no media" {
  start_held
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  receipt=$(cd "$RECORDING" && echo receipt-*)
  rm "$RECORDING"/chunk_* "$RECORDING"/init_*
  run --separate-stderr mc-verify --receipt "$RECORDING" --key server.pem
  assert_success
  assert_output --regexp "^$receipt: signed by key ${receipt#receipt-} at 20.*Z: $RECORDING, recording [0-9a-f]{32}, 4 chunks, .*, manifest $(sha256sum <"$RECORDING/manifest" | cut -c1-64) \(beside it\)$"
  [ "$(mc-verify --json --receipt "$RECORDING" --key server.pem | jq -r '.ok, .receipts[0].chunks, .receipts[0].manifest_checked' | paste -sd ' ')" = "true 4 true" ]
  # Alone, under another name: the signature and what it says.
  mkdir safe
  cp "$RECORDING/$receipt" safe/alice.receipt
  run --separate-stderr mc-verify --receipt safe/alice.receipt --key server.pem
  assert_success
  assert_output --partial '(not here)'
  # With another recording's manifest beside it.
  sed '/^# t0/d' "$RECORDING/manifest" >safe/manifest
  run -1 --separate-stderr mc-verify --receipt safe/alice.receipt --key server.pem
  assert_line --regexp '^alice.receipt: wrong-receipt: '
}

@test "--receipt: any changed byte, another key, no receipt: 1; no key: 64; nothing there: 66" {
  start_held
  receipt=$(cd "$RECORDING" && echo receipt-*)
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  run -1 --separate-stderr mc-verify --receipt "$RECORDING" --key other.pem
  assert_line --regexp "^$receipt: untrusted: "
  mc-verify --receipt "$RECORDING/$receipt" --key other.pem --key server.pem
  cp "$RECORDING/$receipt" keep
  for at in $(seq 0 23 $(($(stat -c %s keep) - 1))); do
    cp keep "$RECORDING/$receipt"
    flip "$RECORDING/$receipt" "$at"
    run -1 --separate-stderr mc-verify --receipt "$RECORDING" --key server.pem
    assert_line --regexp "^$receipt: "
  done
  rm "$RECORDING/$receipt"
  run -1 --separate-stderr mc-verify --receipt "$RECORDING" --key server.pem
  assert_line --regexp '^receipt: missing: '
  run -64 mc-verify --receipt "$RECORDING"
  run -64 mc-verify --receipt "$RECORDING" "$RECORDING" --key server.pem
  run -66 mc-verify --receipt nothing --key server.pem
  mkdir empty
  run -66 mc-verify --receipt empty --key server.pem
  run -64 mc-verify
}

@test "a directory in place of the manifest is said plainly" {
  mkdir -p odd/manifest
  run -66 --separate-stderr mc-verify odd
  [[ $stderr == *"is a directory"* ]]
}
