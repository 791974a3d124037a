# mc-serve with clients that are not ours: curl, openssl, sha256sum, a shell.
load ../helpers/common

ID=0123456789abcdef0123456789abcdef
SPOOL=$MC_SOURCE/tests/data/server/alice   # a small recording: three chunks, closed
RECORDING=/v1/recordings/studio-a/001/alice

teardown() {
  stop_children
  ! mountpoint -q full || umount full
}

digest_of() { printf 'sha-256=:%s:' "$(openssl dgst -sha256 -binary "$1" | base64)"; }

# put FILE TARGET [curl options]: the body of the answer on stdout, the status in STATUS.
put() {
  local file=$1 target=$2
  shift 2
  STATUS=$(curl -sS -o answer -w '%{http_code}' -T "$file" -H "Repr-Digest: $(digest_of "$file")" \
    -H "Maycast-Recording: $ID" "$@" "$SERVER_URL$target")
}

put_files() {
  local name
  for name in init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s; do
    put "$SPOOL/$name" "$RECORDING/$name"
    [ "$STATUS" = 201 ] || fail "$name: $STATUS: $(cat answer)"
  done
}

# A value of a flat JSON document.
json() { sed -nE "s/.*\"$1\":\"?([^\",}]*).*/\1/p" "$2"; }

@test "a recording sent with curl is Synced, and the store is the spool byte for byte" {
  start_server store
  cp -r "$SPOOL" spool
  put_files
  put spool/manifest "$RECORDING/manifest"
  [ "$STATUS" = 200 ]
  [ "$(json synced answer)" = true ]
  printf '%b' "$(json receipt answer)" >receipt
  fingerprint=$(sed -n 's/^key //p' receipt)
  cp receipt "spool/receipt-$fingerprint"
  diff -r -x '.*' spool store/studio-a/001/alice
  (cd store/studio-a/001/alice && sha256sum -c --strict manifest)
}

@test "a receipt is checked with openssl and the published key alone" {
  start_server store
  put_files
  put "$SPOOL/manifest" "$RECORDING/manifest"
  printf '%b' "$(json receipt answer)" >receipt
  curl -sS -D head -o key.pem "$SERVER_URL/v1/key"
  grep -qi "^maycast-key: $(sed -n 's/^key //p' receipt)" head
  sed '$d' receipt >signed
  sed -n 's/^signature //p' receipt | base64 -d >signature
  openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed -sigfile signature
  [ "$(sed -n 's/^root //p' receipt)" = "$(head -n -1 "$SPOOL/manifest" | sha256sum | cut -d' ' -f1)" ]
  [ "$(sed -n 's/^manifest //p' receipt)" = "$(sha256sum <"$SPOOL/manifest" | cut -d' ' -f1)" ]
}

@test "what is missing or damaged is named, also after a restart, and can be sent again" {
  start_server store
  put_files
  rm store/studio-a/001/alice/chunk_000001.m4s
  printf X | dd of=store/studio-a/001/alice/chunk_000002.m4s bs=1 seek=3 conv=notrunc status=none
  for round in running restarted; do
    put "$SPOOL/manifest" "$RECORDING/manifest"
    [ "$STATUS" = 200 ]
    [ "$(json synced answer)" = false ]
    grep -qF '{"name":"chunk_000001.m4s","problem":"missing"},{"name":"chunk_000002.m4s","problem":"damaged"}]' answer
    if [ "$round" = running ]; then
      kill -KILL "$SERVER_PID"
      wait "$SERVER_PID" || true
      start_server store
    fi
  done
  put "$SPOOL/chunk_000001.m4s" "$RECORDING/chunk_000001.m4s"
  [ "$STATUS" = 201 ]
  put "$SPOOL/chunk_000002.m4s" "$RECORDING/chunk_000002.m4s"
  [ "$STATUS" = 201 ]
  put "$SPOOL/manifest" "$RECORDING/manifest"
  [ "$(json synced answer)" = true ]
}

@test "a receipt is the same after a restart" {
  start_server store
  put_files
  put "$SPOOL/manifest" "$RECORDING/manifest"
  cp answer first
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  start_server store
  put "$SPOOL/manifest" "$RECORDING/manifest"
  diff first answer
}

@test "kill -9 in the middle of an upload leaves only a hidden stage, and the next start removes it" {
  start_server store
  put "$SPOOL/init_001.mp4" "$RECORDING/init_001.mp4"
  exec 7<>"/dev/tcp/127.0.0.1/${SERVER_URL##*:}"
  printf 'PUT %s/chunk_000001.m4s HTTP/1.1\r\nHost: x\r\nMaycast-Recording: %s\r\nRepr-Digest: %s\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n' \
    "$RECORDING" "$ID" "$(digest_of "$SPOOL/chunk_000001.m4s")" >&7
  read -r line <&7
  [[ $line == "HTTP/1.1 100 Continue"* ]]
  head -c 500000 /dev/zero >&7
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  exec 7<&-
  run ls -A store/studio-a/001/alice
  assert_line --regexp '^\.stage-'
  refute_line chunk_000001.m4s
  start_server store
  run ls -A store/studio-a/001/alice
  assert_output $'.recording\ninit_001.mp4'
  put "$SPOOL/chunk_000001.m4s" "$RECORDING/chunk_000001.m4s"
  [ "$STATUS" = 201 ]
}

@test "SIGTERM finishes the request in flight and ends with 0" {
  start_server store
  bytes=$(cat "$SPOOL/chunk_000001.m4s")
  exec 7<>"/dev/tcp/127.0.0.1/${SERVER_URL##*:}"
  printf 'PUT %s/chunk_000001.m4s HTTP/1.1\r\nHost: x\r\nMaycast-Recording: %s\r\nRepr-Digest: %s\r\nContent-Length: %s\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' \
    "$RECORDING" "$ID" "$(digest_of "$SPOOL/chunk_000001.m4s")" "${#bytes}" >&7
  read -r line <&7
  read -r _ <&7
  kill -TERM "$SERVER_PID"
  while curl -s -o /dev/null "$SERVER_URL/healthz"; do :; done   # it takes no new connections from here on
  printf '%s' "$bytes" >&7
  read -r line <&7
  [[ $line == "HTTP/1.1 201 Created"* ]]
  exec 7<&-
  wait "$SERVER_PID"
  cmp "$SPOOL/chunk_000001.m4s" store/studio-a/001/alice/chunk_000001.m4s
}

@test "a store that is full answers 507, keeps what it has, and goes on when there is room" {
  mkdir full
  mount -t tmpfs -o size=300k tmpfs full || { [ "$(id -u)" -ne 0 ] && skip "only root can mount"; fail "cannot mount a tmpfs"; }
  head -c 100000 /dev/urandom >small
  head -c 400000 /dev/urandom >large
  start_server full/store
  put small "$RECORDING/chunk_000001.m4s"
  first=$STATUS
  put large "$RECORDING/chunk_000002.m4s"
  second=$STATUS type=$(json type answer)
  left=$(ls -A full/store/studio-a/001/alice)
  mount -o remount,size=2m full
  put large "$RECORDING/chunk_000002.m4s"
  third=$STATUS
  cmp small full/store/studio-a/001/alice/chunk_000001.m4s
  [ "$first" = 201 ]
  [ "$second" = 507 ]
  [ "$type" = urn:maycast:problem:no-space ]
  [ "$left" = $'.recording\nchunk_000001.m4s' ]
  [ "$third" = 201 ]
}

@test "names in any script work from end to end" {
  start_server store
  put "$SPOOL/chunk_000001.m4s" "/v1/recordings/%E3%82%B9%E3%82%BF%E3%82%B8%E3%82%AA/001/%E3%82%A2%E3%83%AA%E3%82%B9/chunk_000001.m4s"
  [ "$STATUS" = 201 ]
  cmp "$SPOOL/chunk_000001.m4s" store/スタジオ/001/アリス/chunk_000001.m4s
}

@test "names that lead out of the store are refused" {
  start_server store
  for target in /v1/recordings/../../etc/001/x/manifest /v1/recordings/s/001/%2e%2e/chunk_000001.m4s \
    /v1/recordings/s/001/..%2f..%2fx/chunk_000001.m4s /v1/recordings/s/001/alice/.recording /v1/recordings/s/001/alice/x.sh; do
    put "$SPOOL/chunk_000001.m4s" "$target" --path-as-is
    [[ $STATUS == 40[04] ]] || fail "$target: $STATUS"
  done
  run ls store
  assert_output ''
}

@test "conflicts, wrong digests and other recordings harm nothing" {
  start_server store
  put "$SPOOL/chunk_000001.m4s" "$RECORDING/chunk_000001.m4s"
  put "$SPOOL/chunk_000002.m4s" "$RECORDING/chunk_000001.m4s"
  [ "$STATUS" = 409 ]
  [ "$(json type answer)" = urn:maycast:problem:conflict ]
  put "$SPOOL/chunk_000002.m4s" "$RECORDING/chunk_000002.m4s" -H "Content-Digest: $(digest_of "$SPOOL/chunk_000001.m4s")"
  [ "$STATUS" = 400 ]
  ID=${ID//0/f}
  put "$SPOOL/chunk_000002.m4s" "$RECORDING/chunk_000002.m4s"
  [ "$STATUS" = 409 ]
  [ "$(json type answer)" = urn:maycast:problem:recording-taken ]
  run ls store/studio-a/001/alice
  assert_output chunk_000001.m4s
  cmp "$SPOOL/chunk_000001.m4s" store/studio-a/001/alice/chunk_000001.m4s
}

@test "ranges, tags and the listing are those of the bytes on disk" {
  start_server store
  put_files
  curl -sS -r 2-4 "$SERVER_URL$RECORDING/chunk_000002.m4s" | cmp - <(head -c 5 "$SPOOL/chunk_000002.m4s" | tail -c 3)
  tag=$(sha256sum <"$SPOOL/chunk_000002.m4s" | cut -d' ' -f1)
  run curl -sS -o /dev/null -w '%{http_code}' -H "If-None-Match: \"$tag\"" "$SERVER_URL$RECORDING/chunk_000002.m4s"
  assert_output 304
  curl -sS "$SERVER_URL$RECORDING/" >listing
  [ "$(wc -l <listing)" -eq 4 ]
  grep -qF "{\"name\":\"chunk_000002.m4s\",\"size\":$(wc -c <"$SPOOL/chunk_000002.m4s"),\"sha256\":\"$tag\"}" listing
}

@test "--json gives one line for each request, and nothing else" {
  start_server store --json >log
  put "$SPOOL/chunk_000001.m4s" "$RECORDING/chunk_000001.m4s"
  curl -sS -o /dev/null "$SERVER_URL/metrics"
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  [ "$(wc -l <log)" -eq 4 ]
  sed -n 1p log | grep -q '^{"event":"listening","time":"'
  sed -n 2p log | grep -q '"method":"PUT".*"status":201,"received_bytes":'
  sed -n 3p log | grep -q '"method":"GET","target":"/metrics","status":200'
  sed -n 4p log | grep -q '^{"event":"stopped","time":"'
}

@test "/healthz, /readyz and /metrics answer" {
  start_server store
  put "$SPOOL/chunk_000001.m4s" "$RECORDING/chunk_000001.m4s"
  run curl -sS "$SERVER_URL/healthz"
  assert_output ok
  run curl -sS "$SERVER_URL/readyz"
  assert_output ready
  run curl -sS "$SERVER_URL/metrics"
  assert_line 'maycast_http_requests_total{code="201"} 1'
  assert_line "maycast_received_bytes_total $(wc -c <"$SPOOL/chunk_000001.m4s")"
  assert_line 'maycast_open_connections 1'
  assert_line 'maycast_put_seconds_bucket{le="+Inf"} 1'
  assert_line 'maycast_put_seconds_count 1'
  assert_line --regexp '^maycast_put_seconds_bucket\{le="0.0025"\} [01]$'
  assert_line --regexp '^maycast_read_backs_waiting [01]$'
  assert_line --regexp '^maycast_store_free_bytes [1-9][0-9]*$'
  assert_line 'maycast_parked_uploads 0'
  assert_line 'maycast_parked_bytes 0'
}

@test "the key is the owner's alone and stays the same" {
  start_server store
  [ "$(stat -c %a store/.receipt-key.pem)" = 600 ]
  curl -sS "$SERVER_URL/v1/key" | cmp - store/.receipt-key.pub.pem
  openssl pkey -in store/.receipt-key.pem -pubout | cmp - store/.receipt-key.pub.pem
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  cp store/.receipt-key.pub.pem before
  start_server store
  curl -sS "$SERVER_URL/v1/key" | cmp - before
}

@test "--key takes a key of openssl's, and refuses what others can read" {
  (umask 077 && openssl genpkey -algorithm ed25519 -out k.pem)
  start_server store --key k.pem
  curl -sS "$SERVER_URL/v1/key" | cmp - <(openssl pkey -in k.pem -pubout)
  [ ! -e store/.receipt-key.pem ]
  chmod 644 k.pem
  expect_exit 78 mc-serve --listen 127.0.0.1:0 --store file:other --key k.pem
  assert_output --partial 'can be read by others'
  head -c 100 /dev/urandom >junk.pem
  chmod 600 junk.pem
  expect_exit 65 mc-serve --listen 127.0.0.1:0 --store file:other --key junk.pem
}

@test "the store comes from MC_STORE when no option names it" {
  mkfifo ready
  MC_STORE=file:$PWD/from-env mc-serve --listen 127.0.0.1:0 --notify-fd 9 9>ready 2>/dev/null 3>&- &
  own_child $!
  read -r SERVER_URL <ready
  [ -e from-env/.lock ]
}

@test "a second server on one store is told to try again" {
  start_server store
  expect_exit 75 mc-serve --listen 127.0.0.1:0 --store file:store
  assert_line --index 0 "mc-serve: error: another server uses the store 'store'"
}

@test "an address in use is told to try again" {
  start_server store
  expect_exit 75 mc-serve --listen "${SERVER_URL#http://}" --store file:other
  assert_output --partial 'cannot listen on'
}

@test "beyond loopback it listens only when the danger is named" {
  expect_exit 78 mc-serve --listen 0.0.0.0:0 --store file:store
  assert_line --index 1 --partial --danger-no-tls-no-tokens
  [ ! -e store ]
  SERVER_LISTEN=0.0.0.0:0 start_server store --danger-no-tls-no-tokens
  run curl -sS "http://127.0.0.1:${SERVER_URL##*:}/healthz"
  assert_output ok
  grep -q 'warning: no TLS and no tokens' server.log
}

@test "several addresses" {
  start_server store --listen 127.0.0.1:0
  grep 'listening on' server.log | sed 's/.* //' >urls
  [ "$(wc -l <urls)" -eq 2 ]
  while read -r url; do [ "$(curl -sS "$url/healthz")" = ok ]; done <urls
}

@test "bad configuration says what is wrong" {
  expect_exit 64 mc-serve --listen nowhere --store file:store
  expect_exit 64 mc-serve --listen 127.0.0.1:0 --store ftp://x
  assert_line --index 1 "hint: a store is 'file:DIRECTORY'"
  expect_exit 78 mc-serve --listen 127.0.0.1:0 --store file:store --listen 192.0.2.1:0
  expect_exit 78 mc-serve --listen 192.0.2.1:0 --store file:store --danger-no-tls-no-tokens
  touch in-the-way
  expect_exit 73 mc-serve --listen 127.0.0.1:0 --store file:in-the-way
  expect_exit 73 bash -c 'mc-serve --listen 127.0.0.1:0 --store file:store --json >/dev/full'
}

@test "a store that may not be written is a matter of permission" {
  as_nobody=()
  [ "$(id -u)" -ne 0 ] || as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  cp "$MC_BIN/mc-serve" /tmp/mc-serve-$$
  expect_exit 77 "${as_nobody[@]}" "/tmp/mc-serve-$$" --listen 127.0.0.1:0 --store file:/mc-not-to-be-made
  rm -f "/tmp/mc-serve-$$"
}

@test "a directory that is not there is made with its parents" {
  start_server a/b/c
  [ -d a/b/c ]
}
