# Sessions of mc-serve, as curl sees them: from new to Synced, tokens, a server that is started anew in between.
load ../helpers/common

ID=0123456789abcdef0123456789abcdef
SPOOL=$MC_SOURCE/tests/data/server/alice
ROOM=/v1/sessions/studio-a

digest_of() { printf 'sha-256=:%s:' "$(openssl dgst -sha256 -binary "$1" | base64)"; }

# ask TARGET TOKEN [curl options]: the status in STATUS, the body in `answer`, the header in `head`.
ask() {
  local target=$1 token=$2
  shift 2
  STATUS=$(curl -sS -D head -o answer -w '%{http_code}' -H "Authorization: Bearer $token" "$@" "$SERVER_URL$target")
}

# expect STATUS ACTION TOKEN [JSON [curl options]]: POST; the action may be empty, which is a new session.
expect() {
  local status=$1 action=$2 token=$3 body=${4:-}
  shift $(($# < 4 ? $# : 4))
  ask "/v1/sessions${action:+/studio-a/$action}" "$token" --data-binary "$body" "$@"
  [ "$STATUS" = "$status" ] || fail "$action: $STATUS: $(cat answer)"
}

# send GUEST TOKEN FILES...: PUT into take 001.
send() {
  local guest=$1 token=$2
  shift 2
  for name in "$@"; do
    ask "/v1/recordings/studio-a/001/$guest/$name" "$token" -T "$SPOOL/$name" \
      -H "Repr-Digest: $(digest_of "$SPOOL/$name")" -H "Maycast-Recording: $ID"
    [[ $STATUS = 20[01] ]] || return 1
  done
}

# view TOKEN FILTER: of the session's view, as jq prints it.
view() {
  ask "$ROOM" "$1"
  [ "$STATUS" = 200 ] || fail "$STATUS: $(cat answer)"
  jq -rc "$2" answer
}

# start_again SIGNAL: the same server, on the same store.
start_again() {
  kill "-$1" "$SERVER_PID"
  wait "$SERVER_PID" || true
  start_server store --secret-file secret
}

# open_room: a server that asks for tokens, and a session with alice in it: ADMIN, DIRECTOR, CODE.
open_room() {
  mc-serve --quiet secret secret
  start_server store --secret-file secret
  ADMIN=$(mc-serve token --secret-file secret --role admin)
  expect 201 '' "$ADMIN" '{"session":"studio-a","guests":["alice"]}'
  DIRECTOR=$(jq -r .director_token answer)
  CODE=$(jq -r '.invitations[0].code' answer)
}

# join GUEST CODE: its token in TOKEN.
join() {
  expect 200 join '' "{\"guest\":\"$1\",\"code\":\"$2\"}"
  TOKEN=$(jq -r .token answer)
}

MEDIA=(init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s)

@test "new, join, rec, stop, Synced: by receipts, and the same after each restart of the server" {
  open_room
  join alice "$CODE"
  key=$(jq -r .key answer)
  ask /v1/key ''
  grep -qix "maycast-key: $key"$'\r' head
  start_again TERM
  join alice "$(tr 'A-Z' 'a-z' <<<"${CODE/-/}")" # as people type it
  expect 200 rec "$DIRECTOR"
  start_again KILL
  [ "$(view "$TOKEN" '.takes[0].state')" = recording ]
  send alice "$TOKEN" "${MEDIA[@]}"
  expect 200 stop "$DIRECTOR" '{"take":"001"}'
  start_again KILL
  [ "$(view "$DIRECTOR" '.takes[0] | [.state, .guests[0].holding]')" = '["finalizing","part"]' ]
  send alice "$TOKEN" manifest
  [ "$(view "$DIRECTOR" '.takes[0] | [.state, .guests[0].holding]')" = '["synced","all"]' ]
  before=$(view "$DIRECTOR" 'del(.now)')
  start_again TERM
  [ "$(view "$DIRECTOR" 'del(.now)')" = "$before" ]
  expect 409 finish "$DIRECTOR" '{"take":"001"}'
  [ "$(jq -r '[.type, .state, .take] | join(" ")' answer)" = 'urn:maycast:problem:wrong-state synced 001' ]
}

@test "a forced finish names who is missing, and what comes later does not make it Synced" {
  open_room
  expect 200 guests "$DIRECTOR" '{"guests":["bob"]}'
  expect 200 rec "$DIRECTOR"
  expect 409 finish "$DIRECTOR" '{"take":"001"}'
  expect 200 stop "$DIRECTOR"
  join alice "$CODE"
  send alice "$TOKEN" "${MEDIA[@]}" manifest
  expect 200 finish "$DIRECTOR" '{"take":"001"}' -H 'Idempotency-Key: 1'
  expect 200 finish "$DIRECTOR" '{"take":"001"}' -H 'Idempotency-Key: 1'
  expect 409 finish "$DIRECTOR" '{"take":"001"}' -H 'Idempotency-Key: 2'
  [ "$(view "$DIRECTOR" '.takes[0] | [.state, .missing]')" = '["incomplete",["bob: nothing has come"]]' ]
  start_again TERM
  send bob "$(mc-serve token --secret-file secret --role guest --session studio-a --guest bob)" "${MEDIA[@]}"
  [ "$(view "$DIRECTOR" '.takes[0] | [.state, .missing, .guests[1].holding]')" = '["incomplete",["bob: nothing has come"],"part"]' ]
  expect 200 rec "$DIRECTOR"
  [ "$(view "$DIRECTOR" '[.takes[] | [.take, .state]]')" = '[["001","incomplete"],["002","recording"]]' ]
}

@test "a guest cannot control, and a director's token is worthless in another session" {
  open_room
  join alice "$CODE"
  reader=$(mc-serve token --secret-file secret --role reader)
  expect 201 '' "$ADMIN" '{"session":"studio-b","guests":["alice"]}'
  other=$(jq -r .director_token answer)
  for token in "$TOKEN" "$other" "$reader"; do
    for action in '' guests rec stop finish; do
      expect 403 "$action" "$token" '{"session":"x","guests":["eve"],"take":"001"}'
    done
  done
  expect 403 '' "$DIRECTOR" '{"session":"x","guests":[]}'
  for action in '' guests rec stop finish; do expect 401 "$action" ''; done
  ask "$ROOM" "$other"
  [ "$STATUS" = 403 ]
  ask "$ROOM" ''
  [ "$STATUS" = 401 ]
  [ "$(view "$TOKEN" '[.version, .takes]')" = '[1,[]]' ]
  [ "$(view "$reader" .version)" = 1 ]
  expect 200 rec "$DIRECTOR"
  # The others' recordings are none of a guest's business, nor is completion anybody's to announce.
  if send bob "$TOKEN" init_001.mp4; then fail "a guest wrote another's recording"; fi
  [ "$STATUS" = 403 ]
  ask "/v1/recordings/studio-a/001/alice/receipt-0123456789abcdef" "$TOKEN" -X PUT --data-binary x
  [ "$STATUS" = 405 ]
  echo 'min-epoch 1 studio-a' >>secret
  expect 401 stop "$DIRECTOR"
  expect 200 stop "$ADMIN"
}

@test "a code is good for its guest alone, until the next one; guessing ends soon, and nothing of it is kept in the clear" {
  open_room
  join alice "$CODE"
  for body in '{"guest":"bob","code":"'"$CODE"'"}' '{"guest":"alice","code":"0000-0000"}' '{"guest":"alice"}'; do
    expect 403 join '' "$body"
    grep -q '"type":"urn:maycast:problem:not-invited"' answer
  done
  expect 200 guests "$DIRECTOR" '{"guests":["alice"]}'
  new=$(jq -r '.invitations[0].code' answer)
  expect 403 join '' '{"guest":"alice","code":"'"$CODE"'"}'
  join alice "$new"
  for _ in 1 2 3 4 5 6; do expect 403 join '' '{"guest":"alice","code":"0000-0000"}'; done
  expect 429 join '' '{"guest":"alice","code":"'"$new"'"}'
  grep -qi '^retry-after: ' head
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  for word in "$CODE" "$new" "${CODE/-/}" "$DIRECTOR" "$TOKEN"; do
    run -1 grep -rF -- "$word" store server.log
  done
  [ "$(jq -r .event store/.audit.jsonl | sort -u | paste -sd ' ')" = 'invited join-refused joined session-created' ]
}

@test "bodies that are none, too large or for nobody are answered, and change nothing" {
  start_server store
  expect 201 '' '' '{"session":"studio-a","guests":["アリス"]}'
  [ "$(jq -c '[.invitations[0].code, .director_token]' answer)" = '["",null]' ]
  for body in '' '[]' '{' '{"guests":"alice"}' '{"guests":["../x"]}' '{"session":".x","guests":[]}' '{"guests":[]}'; do
    expect 400 '' '' "$body"
  done
  expect 409 '' '' '{"session":"studio-a","guests":[]}'
  expect 400 rec '' '{"take":"x"}'
  expect 400 rec '' '' -H "Idempotency-Key: $(printf '%065d' 0)"
  head -c 70000 /dev/zero | tr '\0' ' ' >large
  expect 413 rec '' @large
  expect 413 rec '' @large -H 'Transfer-Encoding: chunked'
  expect 404 nothing ''
  ask /v1/sessions/none/rec '' -X POST
  [ "$STATUS" = 404 ]
  ask "$ROOM/rec" ''
  [ "$STATUS" = 405 ]
  [ "$(view '' '[.version, .guests[0].guest, .takes]')" = '[1,"アリス",[]]' ]
}

@test "the control connection is a WebSocket, over TLS as well, and is counted" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
  chmod 600 key.pem
  start_server store --tls-cert cert.pem --tls-key key.pem
  expect 201 '' '' '{"session":"studio-a","guests":["alice"]}' --cacert cert.pem
  ask "$ROOM/control" '' --cacert cert.pem
  [ "$STATUS" = 426 ]
  mkfifo heard
  curl -sSN --http1.1 --cacert cert.pem -i -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Sec-WebSocket-Protocol: maycast.control.1' \
    "$SERVER_URL$ROOM/control" >heard 2>curl.log 3>&- &
  own_child $!
  exec {HEARD}<heard
  read -r line <&"$HEARD"
  [[ $line == 'HTTP/1.1 101 '* ]]
  while read -r line <&"$HEARD" && [ "${line%$'\r'}" != '' ]; do echo "${line%$'\r'}"; done >upgraded
  grep -qx 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=' upgraded # RFC 6455 1.3
  grep -qix 'Sec-WebSocket-Protocol: maycast.control.1' upgraded
  ask /metrics '' --cacert cert.pem
  grep -qx 'maycast_control_connections 1' answer
  exec {HEARD}<&-
}
