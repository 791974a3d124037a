# mc-serve over TLS, with certificates that openssl makes here and clients that are not ours beside our own.
load ../helpers/common

SPOOL=$MC_SOURCE/tests/data/server/alice   # a small recording: three chunks, closed
RECORDING=studio-a/001/alice

# authority NAME: NAME.pem with NAME.key.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
}

# certificate NAME AUTHORITY SUBJECT-ALTERNATIVE-NAME: NAME.pem with NAME.key, which only we can read.
certificate() {
  (umask 077 && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null)
  printf 'subjectAltName=%s\n' "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 1 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
}

start_tls_server() {
  authority ca
  certificate server ca "${1:-IP:127.0.0.1,DNS:localhost}"
  start_server store --tls-cert server.pem --tls-key server.key
}

# The subject of the certificate that the server shows now.
shown() {
  openssl s_client -connect "127.0.0.1:${SERVER_URL##*:}" </dev/null 2>/dev/null | openssl x509 -noout -subject
}

# metric_is NAME VALUE: waits, within bounds, for a metric to have a value.
metric_is() {
  local i
  for ((i = 0; i < 200; i++)); do
    curl -sS --cacert ca.pem "$SERVER_URL/metrics" | grep -qx "$1 $2" && return 0
  done
  return 1
}

@test "mc-push over TLS gets its receipt, and a wrong authority gets nothing" {
  start_tls_server
  [[ $SERVER_URL == https://127.0.0.1:* ]]
  mkdir -p spool/studio-a/001
  cp -r "$SPOOL" spool/studio-a/001/alice
  authority stranger
  expect_exit 69 mc-push --quiet --cacert stranger.pem "spool/$RECORDING" "$SERVER_URL"
  [ ! -e store/studio-a ]
  expect_exit 69 mc-push --quiet "spool/$RECORDING" "$SERVER_URL"
  [ ! -e store/studio-a ]
  mc-push --quiet --cacert ca.pem "spool/$RECORDING" "$SERVER_URL"
  diff -r -x '.*' -x 'receipt-*' "spool/$RECORDING" "store/$RECORDING"
  compgen -G "spool/$RECORDING/receipt-*"
}

@test "a certificate for another host is refused and nothing is sent" {
  start_tls_server DNS:other.example
  mkdir -p spool/studio-a/001
  cp -r "$SPOOL" spool/studio-a/001/alice
  expect_exit 69 mc-push --quiet --cacert ca.pem "spool/$RECORDING" "$SERVER_URL"
  [ ! -e store/studio-a ]
}

@test "curl speaks to it with TLS 1.2 and 1.3, not older, and keeps the connection" {
  start_tls_server
  for version in 1.2 1.3; do
    run curl -sS --cacert ca.pem "--tlsv$version" --tls-max "$version" -w '%{num_connects}' "$SERVER_URL/healthz" "$SERVER_URL/healthz"
    assert_success
    assert_output $'ok\n1ok\n0'
  done
  expect_exit 35 curl -sS --cacert ca.pem --ciphers 'DEFAULT:@SECLEVEL=0' --tlsv1.1 --tls-max 1.1 "$SERVER_URL/healthz"
}

@test "ALPN is http/1.1, and a client that wants only something else is refused" {
  start_tls_server
  run openssl s_client -connect "127.0.0.1:${SERVER_URL##*:}" -alpn h2,http/1.1 </dev/null
  assert_line 'ALPN protocol: http/1.1'
  run openssl s_client -connect "127.0.0.1:${SERVER_URL##*:}" -alpn h2 </dev/null
  assert_output --partial 'alert'
  refute_line --partial 'ALPN protocol: h2'
}

@test "plain HTTP on the TLS port is told so, and noise ends the connection; others go on" {
  start_tls_server
  run curl -sS -w '%{http_code}' "http://127.0.0.1:${SERVER_URL##*:}/healthz"
  assert_output --partial 'https://'
  assert_output --regexp '400$'
  exec 7<>"/dev/tcp/127.0.0.1/${SERVER_URL##*:}"
  head -c 4000 /dev/zero >&7
  timeout 20 cat <&7 >/dev/null
  exec 7<&-
  run curl -sS --cacert ca.pem "$SERVER_URL/healthz"
  assert_output ok
  metric_is maycast_failed_handshakes_total 2
}

@test "a client that never finishes its handshake holds up nobody" {
  start_tls_server
  exec 7<>"/dev/tcp/127.0.0.1/${SERVER_URL##*:}"
  printf '\x16\x03\x01' >&7
  run timeout 20 curl -sS --cacert ca.pem "$SERVER_URL/healthz"
  assert_output ok
  kill "$SERVER_PID"   # nor the end
  wait "$SERVER_PID"
  exec 7<&-
}

@test "renewed files are shown to the next connection, and a pair that does not fit never" {
  start_tls_server
  run shown
  assert_output --partial 'CN = server'
  certificate renewed ca IP:127.0.0.1
  mv renewed.pem server.pem
  run shown                       # the certificate of one and the key of the other
  assert_output --partial 'CN = server'
  mv renewed.key server.key
  run shown
  assert_output --partial 'CN = renewed'
  grep -q 'warning: cannot use the TLS key' server.log
  grep -q 'the TLS certificate was renewed' server.log
  run curl -sS --cacert ca.pem "$SERVER_URL/healthz"
  assert_output ok
}

@test "a large file comes back whole over TLS, and the end of the connection is no cut" {
  start_tls_server
  head -c 3000000 /dev/urandom >big
  digest="sha-256=:$(openssl dgst -sha256 -binary big | base64):"
  run curl -sS --cacert ca.pem -o /dev/null -w '%{http_code}' -T big -H "Repr-Digest: $digest" \
    -H 'Maycast-Recording: 0123456789abcdef0123456789abcdef' "$SERVER_URL/v1/recordings/$RECORDING/chunk_000001.m4s"
  assert_output 201
  curl -sS --cacert ca.pem "$SERVER_URL/v1/recordings/$RECORDING/chunk_000001.m4s" | cmp - big
  printf 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >request
  run timeout 20 openssl s_client -quiet -verify_quiet -ign_eof -CAfile ca.pem -connect "127.0.0.1:${SERVER_URL##*:}" <request
  assert_success
  assert_output --partial ok
  refute_output --partial 'unexpected eof'
}

@test "SIGTERM finishes an upload that is in flight over TLS" {
  start_tls_server
  head -c 400000 /dev/urandom >body
  digest="sha-256=:$(openssl dgst -sha256 -binary body | base64):"
  mkfifo rest
  curl -sS --cacert ca.pem -o answer -w '%{http_code}' -T rest -H "Repr-Digest: $digest" -H 'Expect:' \
    -H 'Maycast-Recording: 0123456789abcdef0123456789abcdef' "$SERVER_URL/v1/recordings/$RECORDING/chunk_000001.m4s" >status 3>&- &
  client=$!
  own_child "$client"
  exec 8>rest
  head -c 300000 body >&8
  # In flight when its bytes have come in.
  for ((i = 0; i < 500; i++)); do
    bytes=$(curl -sS --cacert ca.pem "$SERVER_URL/metrics" | sed -n 's/^maycast_received_bytes_total //p')
    [ "$bytes" -eq 0 ] || break
  done
  [ "$bytes" -gt 0 ]
  kill "$SERVER_PID"
  for ((i = 0; i < 500; i++)); do grep -q 'finishing the requests' server.log && break; done
  tail -c +300001 body >&8
  exec 8>&-
  wait "$client"
  wait "$SERVER_PID"
  [ "$(cat status)" = 201 ]
  cmp body "store/$RECORDING/chunk_000001.m4s"
}

@test "certificates and keys that cannot be used are refused at the start" {
  authority ca
  certificate server ca IP:127.0.0.1
  certificate other ca IP:127.0.0.1
  serve() { mc-serve --listen 127.0.0.1:0 --store file:store "$@"; }
  expect_exit 64 serve --tls-cert server.pem
  expect_exit 64 serve --tls-key server.key
  expect_exit 78 serve --tls-cert missing.pem --tls-key server.key
  expect_exit 78 serve --tls-cert server.pem --tls-key missing.key
  expect_exit 78 serve --tls-cert server.pem --tls-key other.key
  assert_output --partial "cannot use the TLS key 'other.key'"
  expect_exit 78 serve --tls-cert server.key --tls-key server.key
  chmod 640 server.key
  expect_exit 78 serve --tls-cert server.pem --tls-key server.key
  assert_output --partial 'can be read by others'
  openssl pkey -in other.key -aes256 -passout pass:x -out locked.key
  chmod 600 locked.key
  expect_exit 78 serve --tls-cert other.pem --tls-key locked.key </dev/null
}

@test "with TLS and without tokens it still needs the danger by name beyond loopback" {
  authority ca
  certificate server ca IP:127.0.0.1
  expect_exit 78 mc-serve --listen 0.0.0.0:0 --store file:store --tls-cert server.pem --tls-key server.key
  assert_line --index 0 --partial ': no tokens configured'
  SERVER_LISTEN=0.0.0.0:0 start_server store --tls-cert server.pem --tls-key server.key --danger-no-tls-no-tokens
  grep -q 'warning: no tokens: whoever' server.log
  run curl -sS --cacert ca.pem "https://127.0.0.1:${SERVER_URL##*:}/healthz"
  assert_output ok
}
