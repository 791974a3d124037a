#!/usr/bin/env bats
# Servers that lie, talk nonsense or never come to an end: mc-push does not take them for a server, keeps no receipt of
# theirs, touches nothing, and another mc-push on the same spool is Synced with an honest one meanwhile (never-lose F2, F6, F8).

load ../helpers/common
load ../helpers/net

ROOM=studio-a/001/alice

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_recording spool/$ROOM 4
  make_recording other/$ROOM 4
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=() LIES=() JUDGES=()
  cp -r "$BATS_FILE_TMPDIR/spool" .
  start_server store
  answer_with nothing 404 application/problem+json '{"type":"urn:maycast:problem:not-found","title":"no","status":404,"detail":""}'
  answer_with created 201 text/plain ''
  answer_with empty 200 application/json ''
  curl -sS -o key.pem "$SERVER_URL/v1/key"
  answer_with key 200 application/x-pem-file "$(cat key.pem)"$'\n'
}

# answer_with FILE STATUS TYPE BODY
answer_with() { printf 'HTTP/1.1 %s X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s' "$2" "$3" "$(printf %s "$4" | wc -c)" "$4" >"$1"; }

# lied_to CODE LISTING PUT MANIFEST KEY: mc-push ends with CODE, which may be a pattern, and believes nothing. In a process of
# its own, for mc-push takes its time before it gives up; `all_lies` waits.
lied_to() {
  LIES+=("$*")
  judged_lie "$@" >"verdict-${#LIES[@]}" 2>&1 3>&- &
  JUDGES+=($!)
}
all_lies() {
  local i failed=0
  for i in "${!LIES[@]}"; do
    wait "${JUDGES[i]}" || { echo "${LIES[i]}: $(cat "verdict-$((i + 1))")"; failed=1; }
  done
  LIES=() JUDGES=()
  return $failed
}

judged_lie() (
  code=0 pattern=$1 honest= liar=
  shift
  mkdir "lie-$BASHPID"
  cd "lie-$BASHPID"
  trap 'kill -KILL $liar $honest 2>/dev/null; wait' EXIT
  cp -r ../spool .
  cp -r spool honest
  mkfifo ready
  (cd .. && exec liar 9 "$@") 9>ready &
  liar=$!
  read -r url <ready
  mc-push --quiet honest/$ROOM "$SERVER_URL" 2>honest.log &
  honest=$!
  timeout 90 /usr/bin/env time -f %M -o memory mc-push --deadline 60 spool/$ROOM "$url" >out 2>push.log || code=$?
  # shellcheck disable=SC2254
  case $code in $pattern) ;; *) echo "exit $code: $(cat push.log)"; exit 1 ;; esac
  ! ls spool/$ROOM/receipt-* 2>/dev/null || { echo "a receipt was kept"; exit 1; }
  diff -r spool ../spool || { echo "something local changed"; exit 1; }
  [ "$(tail -1 memory)" -lt 400000 ] || { echo "$(tail -1 memory) KiB"; exit 1; }
  ! grep -a -q $'[\001-\010\016-\037]' push.log || { echo "control characters on the terminal"; exit 1; }
  wait $honest || { echo "the honest one: $(cat honest.log)"; exit 1; }
)

@test "200 with garbage, HTML, wrong JSON or nothing, wherever an answer is wanted" {
  head -c 3000 /dev/urandom >noise
  { printf 'HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n'; cat noise; } >garbage
  answer_with html 200 text/html '<html>Please log in to the hotel network</html>'
  answer_with json 200 application/json '{"closed":"yes","synced":1,"faults":{}}'

  for lie in garbage html json; do
    lied_to 76 $lie created garbage key
    lied_to 76 nothing created $lie key
  done
  lied_to 76 nothing created empty key
  # A 2xx to a PUT proves nothing; the audit is asked.
  lied_to 76 nothing html garbage key
  all_lies
}

@test "synced without a receipt, with faults, with a foreign receipt or one that is signed by nobody" {
  mc-push --quiet "$BATS_FILE_TMPDIR/spool/$ROOM" "$SERVER_URL"
  receipt=$(cat "$BATS_FILE_TMPDIR/spool/$ROOM"/receipt-*)
  rm "$BATS_FILE_TMPDIR/spool/$ROOM"/receipt-*
  start_server elsewhere
  mc-push --quiet "$BATS_FILE_TMPDIR/other/$ROOM" "$SERVER_URL"
  foreign=$(cat "$BATS_FILE_TMPDIR/other/$ROOM"/receipt-*)
  rm "$BATS_FILE_TMPDIR/other/$ROOM"/receipt-*
  curl -sS -o other.pem "$SERVER_URL/v1/key"
  answer_with otherkey 200 application/x-pem-file "$(cat other.pem)"$'\n'
  as_json() { printf '%s\n' "$1" | jq -Rs .; }
  answer_with bare 200 application/json '{"closed":true,"synced":true,"faults":[]}'
  answer_with contradicts 200 application/json \
    "{\"closed\":true,\"synced\":true,\"faults\":[{\"name\":\"chunk_000001.m4s\",\"problem\":\"missing\"}],\"receipt\":$(as_json "$receipt")}"
  answer_with foreign 200 application/json "{\"closed\":true,\"synced\":true,\"faults\":[],\"receipt\":$(as_json "$foreign")}"
  answer_with open 200 application/json "{\"closed\":false,\"synced\":true,\"faults\":[],\"receipt\":$(as_json "$receipt")}"
  answer_with unsigned 200 application/json \
    "{\"closed\":true,\"synced\":true,\"faults\":[],\"receipt\":$(as_json "$(sed 's/^signature ..../signature AAAA/' <<<"$receipt")")}"
  answer_with later 200 application/json \
    "{\"closed\":true,\"synced\":true,\"faults\":[],\"receipt\":$(as_json "$(sed 's/^time 20../time 2036/' <<<"$receipt")")}"
  for lie in bare contradicts open unsigned later; do lied_to 76 nothing created $lie key; done
  lied_to 76 nothing created foreign otherkey
  # The right receipt with another key, and with a key that is none.
  answer_with right 200 application/json "{\"closed\":true,\"synced\":true,\"faults\":[],\"receipt\":$(as_json "$receipt")}"
  lied_to 76 nothing created right otherkey
  answer_with nokey 200 application/x-pem-file '-----BEGIN PUBLIC KEY-----'
  lied_to 76 nothing created right nokey
  # The test's own lie detector: the true one is believed, once the server's key says so.
  all_lies
  lied_to 0 nothing created right key
  ! all_lies >told
  grep -q 'a receipt was kept' told
}

@test "answers without end: header, body, chunks, interim answers; and lengths beyond all bounds" {
  for lie in endless-head endless-body endless-chunks endless-continue; do
    lied_to 7[56] nothing created $lie key
    lied_to 7[56] nothing $lie empty key
    lied_to 7[56] $lie created empty key
  done
  printf 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n' >long
  head -c 2000000 /dev/zero >>long
  lied_to 7[56] nothing long empty key
  lied_to 7[56] nothing created long key
  all_lies
}

@test "a server that asks for files that nobody lists, or for the same one for ever" {
  answer_with strange 200 application/json '{"closed":true,"synced":false,"faults":[{"name":"../../etc/passwd","problem":"missing"}]}'
  answer_with again 200 application/json '{"closed":true,"synced":false,"faults":[{"name":"chunk_000001.m4s","problem":"missing"}]}'
  answer_with reasonless 200 application/json '{"closed":true,"synced":false,"faults":[]}'
  lied_to 76 nothing created strange key
  lied_to 69 nothing created again key
  lied_to 69 nothing created reasonless key
  all_lies
}

@test "a listing that claims everything, a conflict for everything: the audit decides" {
  for name in init_001.mp4 chunk_00000{1,2,3,4}.m4s; do
    printf '{"name":"%s","size":%d,"sha256":"%s"}\n' $name "$(stat -c %s spool/$ROOM/$name)" "$(sha256sum <spool/$ROOM/$name | cut -d' ' -f1)"
  done >lines
  answer_with everything 200 application/jsonl "$(cat lines)"$'\n'
  answer_with again 200 application/json '{"closed":true,"synced":false,"faults":[{"name":"chunk_000001.m4s","problem":"missing"}]}'
  answer_with conflict 409 application/problem+json '{"type":"urn:maycast:problem:conflict","title":"other bytes","status":409,"detail":""}'
  lied_to 69 everything created again key
  lied_to 69 nothing conflict again key
  all_lies
}

@test "redirects in a circle, and words for the terminal" {
  printf 'HTTP/1.1 307 X\r\nLocation: /v1/recordings/studio-a/001/alice/\r\nContent-Length: 0\r\n\r\n' >circle
  lied_to 76 circle created empty key
  printf 'HTTP/1.1 302 X\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n' >file
  lied_to 76 file created empty key
  answer_with rude 403 application/problem+json '{"type":"x","title":"\u001b[2Jgone\u0007","status":403,"detail":"\u001b]0;title\u0007"}'
  lied_to 77 nothing rude empty key
  all_lies
}
