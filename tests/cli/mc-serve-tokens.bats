# mc-serve with tokens: who may do what, as curl sees it.
load ../helpers/common

ID=0123456789abcdef0123456789abcdef
SPOOL=$MC_SOURCE/tests/data/server/alice
RECORDING=/v1/recordings/studio-a/001/alice

digest_of() { printf 'sha-256=:%s:' "$(openssl dgst -sha256 -binary "$1" | base64)"; }

# ask TARGET [curl options]: the status in STATUS, the body in `answer`, the header in `head`.
ask() {
  local target=$1
  shift
  STATUS=$(curl -sS -D head -o answer -w '%{http_code}' "$@" "$SERVER_URL$target")
}

# put NAME TARGET TOKEN [curl options]
put() {
  local name=$1 target=$2 token=$3
  shift 3
  ask "$target" -T "$SPOOL/$name" -H "Repr-Digest: $(digest_of "$SPOOL/$name")" -H "Maycast-Recording: $ID" \
    -H "Authorization: Bearer $token" "$@"
}

mint() { mc-serve token --secret-file secret "$@"; }

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  mc-serve --quiet secret secret
}

@test "a guest sends its own recording with a token, and nobody else's" {
  start_server store --secret-file secret
  token=$(mint --role guest --session studio-a --guest alice)
  for name in init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s; do
    put "$name" "$RECORDING/$name" "$token"
    [ "$STATUS" = 201 ] || fail "$name: $STATUS: $(cat answer)"
  done
  put manifest "$RECORDING/manifest" "$token"
  [ "$STATUS" = 200 ]
  grep -q '"synced":true' answer
  put chunk_000001.m4s /v1/recordings/studio-a/001/bob/chunk_000001.m4s "$token"
  [ "$STATUS" = 403 ]
  grep -q '"type":"urn:maycast:problem:not-allowed"' answer
  grep -qi '^www-authenticate: Bearer realm="maycast", error="insufficient_scope"' head
  [ ! -e store/studio-a/001/bob ]
  ask "$RECORDING/chunk_000001.m4s" -H "Authorization: Bearer $token"
  [ "$STATUS" = 403 ]
  ask "$RECORDING/" -H "Authorization: Bearer $token"
  [ "$STATUS" = 200 ]
}

@test "without a token 401, and nothing is stored" {
  start_server store --secret-file secret
  for token in '' x.y.z "$(mint --role guest --session studio-a --guest alice --expires 0s | tr a-m n-z)"; do
    put chunk_000001.m4s "$RECORDING/chunk_000001.m4s" "$token"
    [ "$STATUS" = 401 ]
    grep -qi '^www-authenticate: Bearer ' head
    grep -qi '^content-type: application/problem+json' head
    put chunk_000001.m4s "$RECORDING/chunk_000001.m4s" "$token" -X PATCH
    [ "$STATUS" = 401 ]
  done
  for target in /metrics "$RECORDING/"; do
    ask "$target"
    [ "$STATUS" = 401 ]
  done
  for target in /healthz /readyz /v1/key; do
    ask "$target"
    [ "$STATUS" = 200 ]
  done
  ask /metrics -H "Authorization: Bearer $(mint --role admin)"
  [ "$STATUS" = 200 ]
  [ ! -e store/studio-a ]
}

@test "an epoch revokes a session's tokens from the next request on, and new ones are good" {
  start_server store --secret-file secret
  token=$(mint --role guest --session studio-a --guest alice)
  other=$(mint --role guest --session studio-b --guest bob)
  put init_001.mp4 "$RECORDING/init_001.mp4" "$token"
  [ "$STATUS" = 201 ]
  echo 'min-epoch 1 studio-a' >>secret
  put chunk_000001.m4s "$RECORDING/chunk_000001.m4s" "$token"
  [ "$STATUS" = 401 ]
  grep -q '"type":"urn:maycast:problem:token-revoked"' answer
  put chunk_000001.m4s /v1/recordings/studio-b/001/bob/chunk_000001.m4s "$other"
  [ "$STATUS" = 201 ]
  put chunk_000001.m4s "$RECORDING/chunk_000001.m4s" "$(mint --role guest --session studio-a --guest alice)"
  [ "$STATUS" = 201 ]
}

@test "names beyond ASCII" {
  start_server store --secret-file secret
  token=$(mint --role guest --session スタジオ --guest アリス)
  put chunk_000001.m4s "/v1/recordings/%E3%82%B9%E3%82%BF%E3%82%B8%E3%82%AA/001/%E3%82%A2%E3%83%AA%E3%82%B9/chunk_000001.m4s" "$token"
  [ "$STATUS" = 201 ]
  put chunk_000001.m4s "/v1/recordings/%E3%82%B9%E3%82%BF%E3%82%B8%E3%82%AA/001/%E3%82%A2/chunk_000001.m4s" "$token"
  [ "$STATUS" = 403 ]
}

@test "a token is what any other program makes of the secret" {
  start_server store --secret-file secret
  b64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
  text=$(printf '{"typ":"JWT","alg":"HS256"}' | b64url).$(printf '{"role":"reader","sub":"x"}' | b64url)
  mac=$(printf %s "$text" | openssl dgst -sha256 -hmac "$(head -n 1 secret)" -binary | b64url)
  ask /metrics -H "Authorization: Bearer $text.$mac"
  [ "$STATUS" = 200 ]
}

@test "tokens are in no log; the audit log says who was refused and what was decided" {
  start_server store --secret-file secret --json >access.log
  token=$(mint --role guest --session studio-a --guest alice)
  for name in init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s manifest; do put "$name" "$RECORDING/$name" "$token"; done
  ask "$RECORDING/chunk_000001.m4s" -T "$SPOOL/chunk_000002.m4s" -H "Repr-Digest: $(digest_of "$SPOOL/chunk_000002.m4s")" \
    -H "Maycast-Recording: $ID" -H "Authorization: Bearer $token"
  [ "$STATUS" = 409 ]
  put init_001.mp4 /v1/recordings/studio-a/001/bob/init_001.mp4 "$token"
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  grep -q '^{"event":"receipt","time":"[^"]*","path":"studio-a/001/alice","recording":"'$ID store/.audit.jsonl
  grep -q '^{"event":"conflict",.*"name":"chunk_000001.m4s"' store/.audit.jsonl
  grep -q '^{"event":"token-refused",.*"problem":"not-allowed","remote":"127.0.0.1:.*"role":"guest","token_id":"' store/.audit.jsonl
  [ "$(wc -l <store/.audit.jsonl)" -eq 3 ]
  for part in "$token" "${token##*.}" "$(head -n 1 secret)"; do
    run grep -rF "$part" store access.log server.log
    [ "$status" -eq 1 ]
  done
}

@test "a secret that others can read, that is none, or that is not there is 78 or 66; it is never replaced" {
  expect_exit 73 mc-serve secret secret
  chmod 640 secret
  expect_exit 78 mc-serve --listen 127.0.0.1:0 --store file:store --secret-file secret
  expect_exit 78 mc-serve token --secret-file secret --role admin
  echo short >short
  chmod 600 short
  expect_exit 78 mc-serve --listen 127.0.0.1:0 --store file:store --secret-file short
  expect_exit 66 mc-serve --listen 127.0.0.1:0 --store file:store --secret-file none
  chmod 600 secret
  expect_exit 64 mint --role guest --session studio-a
  expect_exit 64 mint --role admin --session studio-a
  expect_exit 64 mint --role king
  expect_exit 64 mint --role admin --expires soon
}

@test "the service manager's credential is the secret when no option names one" {
  mkdir credentials
  cp secret credentials/mc-secret
  chmod 440 credentials/mc-secret
  CREDENTIALS_DIRECTORY=$PWD/credentials start_server store
  ask /metrics
  [ "$STATUS" = 401 ]
  ask /metrics -H "Authorization: Bearer $(mint --role admin)"
  [ "$STATUS" = 200 ]
}

@test "tokens alone do not open it to others: they would travel in the clear" {
  expect_exit 78 mc-serve --listen 0.0.0.0:0 --store file:store --secret-file secret
  assert_output --partial 'no TLS configured'
}
