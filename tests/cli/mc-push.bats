#!/usr/bin/env bats
# mc-push: exit 0 only with the receipt on disk, whatever happens to the server, the network or the files.

load ../helpers/common
load ../helpers/push

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=160x120:rate=10 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 5.5 \
    -c:v libx264 -preset ultrafast -g 10 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 -y av.mp4
  mc-spool --quiet write closed/studio-a/001/alice <av.mp4
}

# spool [PATH]: a closed recording in spool/PATH; RECORDING is its directory.
spool() {
  local path=${1:-studio-a/001/alice}
  RECORDING=spool/$path
  mkdir -p "$RECORDING"
  if [ "$path" = studio-a/001/alice ]; then
    cp -r "$BATS_FILE_TMPDIR/closed/studio-a/001/alice/." "$RECORDING"
  else
    mc-spool --quiet write "$RECORDING" <"$BATS_FILE_TMPDIR/av.mp4"
  fi
}

# open_after LINES: the manifest of RECORDING ends after so many lines, as it did once; `rest` has the others.
open_after() {
  mv "$RECORDING/manifest" whole
  head -n "$1" whole >"$RECORDING/manifest"
  tail -n +"$(($1 + 1))" whole >rest
}

# expect_synced STORE-PATH: a receipt, and both copies equal but for what is local.
expect_synced() {
  ls "$RECORDING"/receipt-* >/dev/null
  diff -r -x '.*' "$RECORDING" "store/${1:-studio-a/001/alice}"
}

@test "a closed recording is Synced: receipt on disk, store equal to the spool" {
  spool
  start_server store
  run --separate-stderr mc-push "$RECORDING" "$SERVER_URL"
  assert_success
  assert_output --partial synced
  expect_synced
  (cd store/studio-a/001/alice && sha256sum -c --strict --quiet manifest)
  mc-verify "$RECORDING" "$SERVER_URL"
}

@test "run again it audits again and sends nothing" {
  spool
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  cp -r spool before
  run --separate-stderr mc-push --json "$RECORDING" "$SERVER_URL"
  assert_success
  refute_output --partial '"event":"uploaded"'
  assert_output --partial '"event":"synced"'
  diff -r spool before
}

@test "with --follow it waits for the directory, sends what is listed, and ends with the recording" {
  start_server store
  mkfifo ready
  mc-push --follow --notify-fd 9 spool/studio-a/001/alice "$SERVER_URL" 9>ready 2>push.log 3>&- &
  PUSH_PID=$!
  own_child $PUSH_PID
  read -r line <ready
  [ "$line" = spool/studio-a/001/alice ]
  mc-spool --quiet write spool/studio-a/001/alice <"$BATS_FILE_TMPDIR/av.mp4"
  wait $PUSH_PID
  RECORDING=spool/studio-a/001/alice
  expect_synced
}

@test "the server is killed in the middle: it waits, says so once, and finishes when it is back" {
  spool
  open_after 9
  start_server store
  start_push --follow "$RECORDING" "$SERVER_URL"
  await_event uploaded
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  cat rest >>"$RECORDING/manifest"
  await_event waiting
  SERVER_LISTEN=${SERVER_URL#http://} start_server store
  await_event synced
  wait "$PUSH_PID"
  expect_synced
  [ "$(grep -c 'waiting for the server' push.log)" -eq 1 ]
}

@test "a server that is not there at the start is waited for" {
  spool
  start_server store
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  start_push "$RECORDING" "$SERVER_URL"
  await_event waiting
  run ! ls "$RECORDING"/receipt-*
  SERVER_LISTEN=${SERVER_URL#http://} start_server store
  wait "$PUSH_PID"
  expect_synced
}

@test "an open recording is sent as far as it is, and that is not Synced" {
  spool
  open_after 9
  start_server store
  run -1 --separate-stderr mc-push "$RECORDING" "$SERVER_URL"
  [[ $stderr == *"still open"* ]]
  run ! ls "$RECORDING"/receipt-*
  [ -s store/studio-a/001/alice/chunk_000001.m4s ]
}

@test "what the store lost, between two runs and over a restart, is named and sent again" {
  spool
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  kill -TERM "$SERVER_PID"
  wait "$SERVER_PID" || true
  held=store/studio-a/001/alice
  rm "$held/chunk_000002.m4s"
  printf 'X' | dd of="$held/chunk_000003.m4s" bs=1 seek=900 conv=notrunc status=none
  head -c "$(stat -c %s "$held/chunk_000004.m4s")" /dev/zero >same
  cat same >"$held/chunk_000004.m4s"
  start_server store
  run --separate-stderr mc-push --json "$RECORDING" "$SERVER_URL"
  assert_success
  nack=$(grep '"event":"nack"' <<<"$output" | head -1)
  for n in 2 3 4; do [[ $nack == *"chunk_00000$n.m4s"* ]]; done
  [[ $nack != *"chunk_000001.m4s"* ]]
  [ "$(grep -c '"event":"uploaded"' <<<"$output")" -eq 3 ]
  expect_synced
}

@test "a damaged local file is named, not sent and not touched; the rest is sent" {
  spool
  printf 'X' | dd of="$RECORDING/chunk_000003.m4s" bs=1 seek=900 conv=notrunc status=none
  cp -r spool before
  start_server store
  run -65 --separate-stderr mc-push "$RECORDING" "$SERVER_URL"
  [[ $stderr == *chunk_000003.m4s* ]]
  diff -r spool before
  [ ! -e store/studio-a/001/alice/chunk_000003.m4s ]
  for n in 1 2 4 5 6; do cmp "$RECORDING/chunk_00000$n.m4s" "store/studio-a/001/alice/chunk_00000$n.m4s"; done
}

@test "another recording under the same name goes beside the first one, and nothing is overwritten" {
  spool
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  mc-spool --quiet write other/studio-a/001/alice <"$BATS_FILE_TMPDIR/av.mp4"
  run --separate-stderr mc-push other/studio-a/001/alice "$SERVER_URL"
  assert_success
  [[ $stderr == *"alice~2"* ]]
  expect_synced
  RECORDING=other/studio-a/001/alice
  expect_synced 'studio-a/001/alice~2'
  mc-verify "$RECORDING" "$SERVER_URL"
}

@test "a whole spool, with names beyond ASCII" {
  spool studio-a/001/alice
  spool studio-a/001/ゲスト
  spool studio-a/002/bob
  start_server store
  mc-push spool "$SERVER_URL"
  for path in studio-a/001/alice studio-a/001/ゲスト studio-a/002/bob; do
    RECORDING=spool/$path
    expect_synced "$path"
  done
}

@test "one recording that fails does not keep the others from being sent" {
  spool studio-a/001/alice
  spool studio-a/002/bob
  rm spool/studio-a/001/alice/chunk_000001.m4s
  start_server store
  run -65 mc-push spool "$SERVER_URL"
  RECORDING=spool/studio-a/002/bob
  expect_synced studio-a/002/bob
}

@test "only the pinned key is believed" {
  spool
  start_server store
  openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pem
  run -69 mc-push --key other.pem "$RECORDING" "$SERVER_URL"
  run ! ls "$RECORDING"/receipt-*
  curl -sS -o server.pem "$SERVER_URL/v1/key"
  mc-push --key server.pem "$RECORDING" "$SERVER_URL"
  expect_synced
  mc-verify --key server.pem "$RECORDING"
  run -78 mc-push --key "$BATS_FILE_TMPDIR/av.mp4" "$RECORDING" "$SERVER_URL"
}

@test "the deadline ends with 75, a signal with that signal, and nothing is lost by either" {
  spool
  cp -r spool before
  start_server store
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  run -75 mc-push --deadline 0.3 "$RECORDING" "$SERVER_URL"
  assert_output --partial deadline
  start_push "$RECORDING" "$SERVER_URL"
  await_event waiting
  kill -TERM "$PUSH_PID"
  code=0
  wait "$PUSH_PID" || code=$?
  [ "$code" -eq 143 ]
  diff -r spool before
}

@test "bad input has its own exit codes" {
  start_server store
  run -66 mc-push none "$SERVER_URL"
  mkdir empty
  run -66 mc-push empty "$SERVER_URL"
  spool
  run -64 mc-push "$RECORDING" not-a-url
  run -64 mc-push "$RECORDING" ftp://127.0.0.1/
  run -69 mc-push "$RECORDING" "$SERVER_URL/elsewhere"
  assert_output --partial 404
  mkdir junk
  head -c 5000 /dev/urandom >junk/manifest
  run -65 mc-push junk "$SERVER_URL"
  : >junk/manifest
  run -65 mc-push junk "$SERVER_URL"
}

@test "a file here that is damaged under a receipt is warned of and told; the server has it, so that is all" {
  spool
  start_server store
  mc-push "$RECORDING" "$SERVER_URL"
  printf 'X' | dd of="$RECORDING/chunk_000002.m4s" bs=1 seek=900 conv=notrunc status=none
  run --separate-stderr mc-push --json "$RECORDING" "$SERVER_URL"
  assert_success
  [[ $(jq -r 'select(.event == "damaged") | .name' <<<"$output") == chunk_000002.m4s ]]
  [ "$(grep -c chunk_000002.m4s <<<"$stderr")" -eq 1 ]
  (cd store/studio-a/001/alice && sha256sum -c --strict --quiet manifest)
}

@test "a full stdout does not stop the upload, and is reported" {
  spool
  start_server store
  run -73 bash -c 'mc-push --json "$0" "$1" >/dev/full' "$RECORDING" "$SERVER_URL"
  expect_synced
}
