#!/usr/bin/env bats
# Clients that lie, break the protocol or only want to be in the way. Each is refused, nothing of theirs is stored, and an
# honest upload that runs at the same time is Synced (never-lose F8, L11).

load ../helpers/common
load ../helpers/net

ROOM=studio-a/001/alice
ID=0123456789abcdef0123456789abcdef
TARGET=/v1/recordings/mallory/001/m/chunk_000001.m4s

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_recording spool/$ROOM 6
}

# honest: a server, and an upload to it that takes a while; `still_honest` is the judgement.
honest() {
  cp -r "$BATS_FILE_TMPDIR/spool" .
  start_server store "$@"
  start_proxy --delay 20
  PORT=${SERVER_URL##*:}
  mc-push --quiet --parallel 1 spool/$ROOM "$PROXY_URL" 2>push.log 3>&- &
  PUSH_PID=$!
  own_child "$PUSH_PID"
}

still_honest() {
  wait "$PUSH_PID" || { cat push.log; return 1; }
  expect_synced spool store $ROOM || return 1
  kill -0 "$SERVER_PID"
  # Nothing of anybody else's is in the store.
  [ -z "$(find store -mindepth 1 -maxdepth 1 ! -name '.*' ! -name studio-a)" ] || { find store; return 1; }
  [ "$(find store/studio-a -mindepth 1 -maxdepth 2 | sort | paste -sd' ')" = "store/studio-a/001 store/studio-a/001/alice" ]
  ! find store -name '.stage-*' -o -name '.conflict-*' | grep .
}

digest() { printf 'sha-256=:%s:' "$(printf %s "$1" | openssl dgst -sha256 -binary | base64)"; }

# put_head TARGET BODY: the usual head without Content-Length and the empty line.
put_head() { printf 'PUT %s HTTP/1.1\r\nHost: x\r\nMaycast-Recording: %s\r\nRepr-Digest: %s\r\n' "$1" "$ID" "$(digest "$2")"; }

statuses() { grep -a -o '^HTTP/1.1 [0-9]*' | cut -d' ' -f2 | paste -sd' '; }

@test "names that lead elsewhere: raw, encoded once and twice, overlong, with NUL and backslash" {
  honest
  ls -A .. >around
  for at in '/v1/recordings/../../x/001/m/chunk_000001.m4s' '/v1/recordings/%2e%2e/001/m/chunk_000001.m4s' \
    '/v1/recordings/..%2fx/001/m/chunk_000001.m4s' '/v1/recordings/%252e%252e%252fx/001/../chunk_000001.m4s' \
    '/v1/recordings/%c0%ae%c0%ae/001/m/chunk_000001.m4s' '/v1/recordings/%e0%80%ae/001/m/chunk_000001.m4s' \
    '/v1/recordings/x%00/001/m/chunk_000001.m4s' '/v1/recordings/x/001/m/chunk_000001.m4s%00' \
    '/v1/recordings/..%5cx/001/m/chunk_000001.m4s' '/v1/recordings/x/001/m%5c..%5cn/chunk_000001.m4s' \
    '/v1/recordings/x/001/m/..%2f..%2fchunk_000001.m4s' '/v1/recordings/x/001/m/.recording' '/v1/recordings/x/001/.m/manifest' \
    '/v1/recordings/x/001/m/.stage-1' '/v1/recordings/x/000/m/manifest' '/v1/recordings//001/m/manifest' \
    '/v1/recordings/x/001/m/chunk_1.m4s' '/v1/recordings/x/001/m/chunk_00000000000001.m4s' '/v1/recordings/x/001/m/manifest/' \
    '/v1/recordings/x/001/%ed%a0%80/manifest' '/v1/recordings/x/001/%ff/manifest' '/v1/recordings/x/001/%zz/manifest' \
    '/v1/recordings/x/001/%0a/manifest' 'http://x/v1/recordings/%2e%2e/001/m/manifest' '/../../etc/passwd' '//etc/passwd' '*' \
    "/v1/recordings/x/001/$(head -c 101 /dev/zero | tr '\0' a)/manifest" "/v1/recordings/$(head -c 6000 /dev/zero | tr '\0' /)"; do
    { put_head "$at" body; printf 'Connection: close\r\nContent-Length: 4\r\n\r\nbody'; } | raw_http "$PORT" >answer
    [[ $(statuses <answer) == 40[045] ]] || { echo "$at: $(cat answer)"; return 1; }
    { printf 'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$at"; } | raw_http "$PORT" >answer
    [[ $(statuses <answer) == 40[045] ]] || { echo "GET $at: $(cat answer)"; return 1; }
  done
  ls -A .. | diff around -
  still_honest
}

@test "digests that are wrong, missing, of another algorithm, or contradict each other" {
  honest
  wrong=$(digest other) right=$(digest body)
  for fields in "Repr-Digest: $wrong" "Content-Digest: $wrong" "X: y" "Repr-Digest: md5=:hBotaJrYa9FhFCMM+5RXNg==:" "Repr-Digest: sha-256=::" \
    "Repr-Digest: sha-256=:AAAA:" "Repr-Digest: sha-256=$right" "Repr-Digest: $right\r\nContent-Digest: $wrong" "Repr-Digest: sha-256=:%%%%:" \
    "Repr-Digest: sha-512=:AAAA:" "Repr-Digest: $(head -c 8000 /dev/zero | tr '\0' ,)" "Repr-Digest: $right, $wrong"; do
    printf "PUT $TARGET HTTP/1.1\r\nHost: x\r\nMaycast-Recording: $ID\r\n${fields//%/%%}\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody" |
      raw_http "$PORT" >answer
    [[ $(statuses <answer) == 400 ]] || { echo "$fields: $(cat answer)"; return 1; }
  done
  still_honest
}

@test "10,000 header fields, a field of 1 MB, a request line of 1 MB, a field name without end" {
  honest
  { put_head $TARGET body; yes 'X-Field: value' | head -n 10000 | sed 's/$/\r/'; printf 'Content-Length: 4\r\n\r\nbody'; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 431 ]
  { put_head $TARGET body; printf 'X: '; head -c 1000000 /dev/zero | tr '\0' x; printf '\r\n\r\n'; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 431 ]
  { printf 'GET /'; head -c 1000000 /dev/zero | tr '\0' x; printf ' HTTP/1.1\r\nHost: x\r\n\r\n'; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 431 ]
  { put_head $TARGET body; head -c 1000000 /dev/zero | tr '\0' x; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 431 ]
  still_honest
}

# smuggle HEADERS-AND-BODY: one answer, 400, and the connection is over: what stands behind is not seen as a request.
smuggle() {
  { put_head $TARGET body; printf '%b' "$1"; printf 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 400 ] || { echo "$1: $(statuses <answer)" >>unlike; }
}

@test "requests whose end could be seen in two places" {
  honest
  smuggle 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody'
  smuggle 'Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody'
  smuggle 'Content-Length: 4, 4\r\n\r\nbody'
  smuggle 'Content-Length: +4\r\n\r\nbody'
  smuggle 'Content-Length: -4\r\n\r\nbody'
  smuggle 'Content-Length: 0x4\r\n\r\nbody'
  smuggle 'Content-Length: 4 4\r\n\r\nbody'
  smuggle 'Content-Length: 18446744073709551620\r\n\r\nbody'
  smuggle 'Content-Length: \r\n\r\nbody'
  smuggle 'Content-Length : 4\r\n\r\nbody'
  smuggle 'Transfer-Encoding : chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked, identity\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: identity, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: "chunked"\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding:\x0bchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\x00\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Foo: x\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Content-Length: 4\n\nbody'
  smuggle 'Foo: x\rContent-Length: 4\r\n\r\nbody'
  smuggle 'Host: y\r\nContent-Length: 4\r\n\r\nbody'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n-1\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n4\nbody\n0\n\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n4\r\nbodyX\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody\r\n0\r\n\r\n'
  smuggle 'Transfer-Encoding: chunked\r\n\r\n 4\r\nbody\r\n0\r\n\r\n'
  [ ! -e unlike ] || { cat unlike; return 1; }
  still_honest
}

@test "obsolete folding, chunk extensions and trailers are either refused or mean what they say" {
  honest
  for rest in 'X: a\r\n b\r\nContent-Length: 5\r\n\r\nwrong' 'Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nwrong\r\n0\r\n\r\n' \
    'Transfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\nContent-Length: 7\r\n\r\n' 'Transfer-Encoding:\r\n chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n' \
    ' Content-Length: 5\r\n\r\nwrong' 'Content-Length:\r\n 5\r\n\r\nwrong' 'Transfer-Encoding: CHUNKED\r\n\r\n5\r\nwrong\r\n0\r\n\r\n'; do
    { put_head $TARGET body; printf '%b' "$rest"; printf 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'; } | raw_http "$PORT" >answer
    # Read as one request (its digest is wrong) and the next one, or refused: never as anything else.
    [[ $(statuses <answer) == "400" || $(statuses <answer) == "400 200" ]] || { echo "$rest: $(cat answer)"; return 1; }
  done
  # An extension without end is not a way to keep a connection busy for nothing.
  { put_head $TARGET body; printf 'Transfer-Encoding: chunked\r\n\r\n4;'; head -c 3000000 /dev/zero | tr '\0' x; } | raw_http "$PORT" >answer
  [[ $(statuses <answer) == 4[013][013] ]]
  still_honest
}

@test "thousands of pipelined requests, whose answers nobody reads at first" {
  honest
  {
    for ((i = 0; i < 3000; i++)); do printf 'GET /v1/key HTTP/1.1\r\nHost: x\r\n\r\n'; done
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  } >many
  raw_http "$PORT" <many >answer
  [ "$(grep -a -c '^HTTP/1.1 200' answer)" -eq 3001 ]
  # Never read at all, and gone.
  exec 7<>"/dev/tcp/127.0.0.1/$PORT"
  timeout 2 cat many >&7 || true
  exec 7>&-
  still_honest
}

@test "half-closed connections: a whole request is answered, half a body is nothing" {
  honest
  printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n' | raw_http --half-close "$PORT" >answer
  [ "$(statuses <answer)" = 200 ]
  { put_head $TARGET body; printf 'Content-Length: 400\r\n\r\nbody'; } | raw_http --half-close "$PORT" >answer
  [ -z "$(statuses <answer)" ]
  { put_head $TARGET body; printf 'Transfer-Encoding: chunked\r\n\r\n4\r\nbo'; } | raw_http --half-close "$PORT" >answer
  [ -z "$(statuses <answer)" ]
  printf 'GET /healthz HT' | raw_http --half-close "$PORT" >answer
  [ -z "$(grep -a ' 200' answer)" ]
  still_honest_but_for_parked
}

# What came of a broken upload is kept for a while, hidden, so that the client can go on with it.
still_honest_but_for_parked() {
  rm -rf store/mallory
  still_honest
}

@test "a body that is announced as larger than any file" {
  honest
  { put_head $TARGET body; printf 'Content-Length: 1073741825\r\n\r\nbody'; } | raw_http "$PORT" >answer
  [ "$(statuses <answer)" = 413 ]
  still_honest
}

@test "noise" {
  honest
  for ((i = 0; i < 50; i++)); do head -c $((RANDOM % 5000 + 1)) /dev/urandom | raw_http --half-close "$PORT" >answer; done
  for ((i = 0; i < 50; i++)); do { put_head $TARGET body; printf 'Content-Length: 4\r\n\r\nbody'; } | head -c $((i * 3)) | raw_http --half-close "$PORT" >answer; done
  still_honest
}
