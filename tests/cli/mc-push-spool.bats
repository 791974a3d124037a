#!/usr/bin/env bats
# mc-push with a whole spool: every recording in it, those that appear later, and none in the way of the others.

load ../helpers/common
load ../helpers/push

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=160x120:rate=10,noise=alls=20:allf=t" -t 5.5 -c:v libx264 -preset ultrafast \
    -g 10 -bf 0 -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 -y video.mp4
}

# record PATH...: closed recordings in the spool.
record() {
  local path
  for path; do mc-spool --quiet write "spool/$path" <"$BATS_FILE_TMPDIR/video.mp4"; done
}

# open_again PATH: its manifest has no end any more, and lists two chunks.
open_again() { sed -i '/chunk_000002.m4s/q' "spool/$1/manifest"; }

# expect_synced PATH...
expect_synced() {
  local path
  for path; do
    ls "spool/$path"/receipt-* >/dev/null
    diff -r -x '.*' "spool/$path" "store/$path"
  done
}

# of EVENT FIELD: from the events on stdin.
of() { jq -r "select(.event == \"$1\") | .$2"; }

@test "of three recordings one is refused: it is named, the others are Synced, and the exit status tells" {
  record studio-a/001/alice studio-a/001/bob studio-a/002/alice
  mc-serve --quiet secret secret
  start_server store --secret-file secret
  mc-serve token --secret-file secret --role guest --session studio-a --guest alice >token
  run -77 --separate-stderr mc-push --json --token-file token spool "$SERVER_URL"
  [ "$(of failed directory <<<"$output")" = spool/studio-a/001/bob ]
  [[ $stderr == *"'spool/studio-a/001/bob': "*403* ]]
  [[ $stderr == *"1 of 3 recordings failed"* ]]
  expect_synced studio-a/001/alice studio-a/002/alice
  [ ! -e store/studio-a/001/bob ]
  [ "$(of uploaded path <<<"$output" | sort -u)" = $'studio-a/001/alice\nstudio-a/002/alice' ]
}

@test "one that is open without a writer is sent as far as it is, and is no success" {
  record studio-a/001/alice studio-a/001/bob
  open_again studio-a/001/bob
  start_server store
  run -1 --separate-stderr mc-push spool "$SERVER_URL"
  [[ $stderr == *"spool/studio-a/001/bob' is still open"* ]]
  expect_synced studio-a/001/alice
  cmp spool/studio-a/001/bob/chunk_000002.m4s store/studio-a/001/bob/chunk_000002.m4s
}

@test "what is Synced costs one question for the server's key; a server without the receipt gets it all" {
  record studio-a/001/alice studio-a/001/bob
  start_server store
  mc-push spool "$SERVER_URL"
  kill -TERM "$SERVER_PID"
  wait "$SERVER_PID"
  start_server store --json >requests
  run --separate-stderr mc-push --json --parallel 1 spool "$SERVER_URL"
  assert_success
  [ "$(of request target <requests)" = /v1/key ]
  [ "$(of synced directory <<<"$output" | wc -l)" -eq 2 ]
  [ -z "$(of uploaded name <<<"$output")$(of nack faults <<<"$output")" ]
  start_server elsewhere
  run --separate-stderr mc-push --json spool "$SERVER_URL"
  assert_success
  [ "$(of uploaded name <<<"$output" | wc -l)" -eq 14 ]
  [ "$(find spool -name 'receipt-*' | wc -l)" -eq 4 ]
}

@test "followed: what is there, what is being recorded and what appears later; stopped with everything Synced it is 0" {
  record studio-a/001/alice
  start_server store
  start_push --follow spool "$SERVER_URL"
  await_event synced
  [[ $EVENT == *'"path":"studio-a/001/alice"'* ]]
  record studio-a/002/alice & # a new take: the directory itself is new
  own_child $!
  await_event synced
  [[ $EVENT == *'"directory":"spool/studio-a/002/alice"'* ]]
  record studio-a/002/bob & # beside it
  own_child $!
  await_event synced
  [[ $EVENT == *'"path":"studio-a/002/bob"'* ]]
  end_push TERM 0
  expect_synced studio-a/001/alice studio-a/002/alice studio-a/002/bob
}

@test "followed: without notices from the kernel what appears, and what grows, is found all the same" {
  record studio-a/001/alice
  cp -r spool whole
  open_again studio-a/001/alice
  start_server store
  mkfifo events
  strace -f -qq -o calls -e trace=inotify_add_watch -e inject=inotify_add_watch:error=ENOSPC \
    mc-push --json --follow spool "$SERVER_URL" >events 2>push.log 3>&- &
  STRACE_PID=$!
  exec {EVENTS}<events
  await_event uploaded
  PUSH_PID=$(awk 'NR == 1 { print $1 }' calls)
  own_child "$PUSH_PID"
  record studio-a/001/bob
  await_event synced
  cp whole/studio-a/001/alice/manifest spool/studio-a/001/alice/manifest
  await_event synced
  grep -q INJECTED calls
  kill -TERM "$PUSH_PID"
  wait "$STRACE_PID"
  expect_synced studio-a/001/alice studio-a/001/bob
}

@test "followed: stopped before everything is Synced it is 75, and an empty spool is none to wait for" {
  start_server store
  mkdir spool
  mkfifo ready
  mc-push --follow --notify-fd 9 spool "$SERVER_URL" 9>ready 2>push.log 3>&- &
  PUSH_PID=$!
  own_child $PUSH_PID
  read -r line <ready
  [ "$line" = spool ]
  kill -TERM $PUSH_PID
  wait $PUSH_PID
  record studio-a/001/alice studio-a/001/bob
  open_again studio-a/001/bob
  start_push --follow spool "$SERVER_URL"
  await_event synced
  end_push INT 75
  grep -q '1 of 2 recordings synced' push.log
}

@test "followed: one that is damaged is named once, and taken up again when it was put right" {
  record studio-a/001/alice
  cp spool/studio-a/001/alice/manifest right
  sed -i 's/^# chunk 2 bytes/# chunk 7 bytes/' spool/studio-a/001/alice/manifest
  start_server store
  start_push --follow spool "$SERVER_URL"
  await_event failed
  [[ $EVENT == *'"directory":"spool/studio-a/001/alice"'* ]]
  record studio-a/001/carol
  await_event synced '"path":"studio-a/001/carol"'
  cp right spool/studio-a/001/alice/manifest
  await_event synced '"path":"studio-a/001/alice"'
  end_push TERM 0
  expect_synced studio-a/001/{alice,carol}
}

@test "the server is killed while a spool is followed: said once, and all are Synced when it is back" {
  record studio-a/001/alice studio-a/001/bob
  cp -r spool whole
  for guest in alice bob; do open_again studio-a/001/$guest; done
  start_server store
  start_push --follow spool "$SERVER_URL"
  for _ in 1 2 3 4 5 6; do await_event uploaded; done
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  for guest in alice bob; do cp whole/studio-a/001/$guest/manifest spool/studio-a/001/$guest/manifest; done
  await_event waiting
  SERVER_LISTEN=${SERVER_URL#http://} start_server store
  await_event synced
  await_event synced
  end_push TERM 0
  expect_synced studio-a/001/alice studio-a/001/bob
  [ "$(grep -c 'waiting for the server' push.log)" -eq 1 ]
}

@test "kill -9 of mc-push in the middle of a spool, again and again: each run goes on where the last one ended" {
  record studio-a/00{1,2}/alice studio-a/001/bob
  start_server store
  for at in 3 5 2 4; do
    start_push --parallel 2 --limit-rate 400k --follow spool "$SERVER_URL"
    for ((n = 0; n < at; ++n)); do await_event uploaded; done
    end_push KILL 137
    (cd store && find . -name 'chunk_*' -o -name 'init_*') | while read -r file; do cmp "spool/$file" "store/$file"; done
  done
  run --separate-stderr mc-push --json spool "$SERVER_URL"
  assert_success
  # 14 at least were there already.
  [ "$(of uploaded name <<<"$output" | wc -l)" -le $((21 - 14)) ]
  expect_synced studio-a/00{1,2}/alice studio-a/001/bob
}
