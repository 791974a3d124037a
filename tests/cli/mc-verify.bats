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

@test "a flipped byte in any file: exit 1, and the file's name" {
  for name in init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s chunk_000004.m4s; do
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

@test "a flipped byte in any line of the manifest: exit 1, and 'manifest' with the line" {
  cp "$RECORDING/manifest" keep
  start=0
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    for at in $((start + 1)) $((start + ${#line} / 2)) $((start + ${#line})); do
      cp keep "$RECORDING/manifest"
      flip "$RECORDING/manifest" "$at"
      run --separate-stderr mc-verify "$RECORDING"
      [ "$status" -eq 1 ] || fail "line $number, byte $at: exit $status: $output"
      assert_line --regexp '^manifest: damaged: '
    done
    start=$((start + ${#line} + 1))
  done <keep
}

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

@test "a URL in place of the directory, and a directory in place of a file, are said plainly" {
  run -64 --separate-stderr mc-verify http://127.0.0.1:1/
  [[ $stderr == *"DIR is a URL"* ]]
  mkdir -p odd/manifest
  run -66 --separate-stderr mc-verify odd
  [[ $stderr == *"is a directory"* ]]
}
