# A session from the command line: new, rec, stop, wait, get, and what a director is told when it does not go well.
load ../helpers/common
load ../helpers/session

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=160x90:rate=10 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 3 \
    -c:v libx264 -preset ultrafast -g 10 -c:a aac -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.mp4
}

# record SESSION/TAKE/GUEST JOIN-URL: what a rig does, by hand: takes a token for its code, records, sends until Synced.
record() {
  local guest=${1##*/} code=${2#*#code=}
  curl -sS -f -H 'Content-Type: application/json' "$MC_SERVER/v1/sessions/${1%%/*}/join" \
    -d "{\"guest\":\"$guest\",\"code\":\"${code%%&*}\"}" | jq -r .token >"token-$guest"
  mc-spool --quiet write --as "$1" "spool/$1" <"$BATS_FILE_TMPDIR/av.mp4"
  mc-push --quiet --token-file "token-$guest" "spool/$1" "$MC_SERVER"
}

@test "new, rec, stop, wait, get: every file is what mc-join makes" {
  direct_server
  run --separate-stderr mc-direct new studio-a --guest alice --guest bob --token-file admin
  assert_success
  local alice=${lines[0]} bob=${lines[1]}
  [[ $alice == "$MC_SERVER/join/studio-a/alice#code="* ]]
  assert_equal "$(stat -c %a state/maycast/director-studio-a)" 600
  assert_equal "$(mc-direct --quiet rec studio-a)" 001
  run -1 mc-direct rec studio-a
  assert_output --partial 'take 001 is recording'
  mc-direct --quiet stop studio-a
  assert_equal "$(mc-direct --quiet rec studio-a)" 002 # while the first is finalizing
  record studio-a/001/alice "$alice"
  run -75 mc-direct wait studio-a 001 --timeout 0s
  record studio-a/001/bob "$bob"
  mc-direct --quiet wait studio-a 001 --timeout 20s
  mc-direct --quiet get studio-a 001 -o out
  for guest in alice bob; do
    mc-join --quiet "spool/studio-a/001/$guest" -o "$guest.mp4"
    cmp "$guest.mp4" "out/$guest.mp4"
  done
  assert_equal "$(ls -A out)" $'alice.mp4\nbob.mp4'
}

@test "what is missing is named, and a take that was given up is never synced" {
  direct_server
  mapfile -t urls < <(mc-direct --quiet new studio-a --guest alice --guest bob --token-file admin)
  mc-direct --quiet rec studio-a
  run -1 mc-direct finish studio-a 001 --force
  assert_output --partial 'take 001 is recording'
  mc-direct --quiet stop studio-a 001
  record studio-a/001/alice "${urls[0]}"
  expect_exit 64 mc-direct finish studio-a 001
  run -1 mc-direct get studio-a 001 -o out
  assert_output --partial 'missing: bob: nothing has come'
  [ -s out/alice.mp4 ]
  run -0 --separate-stderr mc-direct --json finish studio-a 001 --force
  assert_equal "$(jq -c .missing <<<"$output")" '["bob: nothing has come"]'
  record studio-a/001/bob "${urls[1]}" # late, and kept
  run -1 mc-direct wait studio-a 001
  assert_output --partial 'take 001 is incomplete'
  mc-direct --quiet get studio-a 001 -o out
  [ -s out/bob.mp4 ]
}

@test "get goes on where it was broken off, and begins anew when the recording is another one" {
  direct_server
  mapfile -t urls < <(mc-direct --quiet new studio-a --guest alice --token-file admin)
  mc-direct --quiet rec studio-a
  mc-direct --quiet stop studio-a
  record studio-a/001/alice "${urls[0]}"
  mc-direct --quiet get studio-a 001 -o whole
  local tag size
  tag=$(curl -sS -I -H "Authorization: Bearer $(cat state/maycast/director-studio-a)" \
    "$MC_SERVER/v1/recordings/studio-a/001/alice.mp4" | tr -d '\r' | sed -n 's/^ETag: //p')
  size=$(stat -c %s whole/alice.mp4)
  mkdir part
  # Behind what is durable a power cut leaves anything.
  { head -c $((size / 2)) whole/alice.mp4; head -c 100 /dev/zero; } >part/.alice.mp4.part
  printf '%s %s' "$tag" $((size / 2)) >part/.alice.mp4.tag
  run -0 --separate-stderr mc-direct --json get studio-a 001 -o part
  cmp whole/alice.mp4 part/alice.mp4
  assert_equal "$(jq -s '.[-1].bytes' <<<"$output")" $((size - size / 2))
  head -c 1000 /dev/zero >part/.alice.mp4.part
  printf %s '"of another one" 1000' >part/.alice.mp4.tag
  mc-direct --quiet get studio-a 001 -o part
  cmp whole/alice.mp4 part/alice.mp4
}

@test "the state is the same after the server was killed, and a director waits for it" {
  direct_server
  mc-direct --quiet new studio-a --guest alice --token-file admin >urls
  mc-direct --quiet rec studio-a
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  mc-direct --patience 60 stop studio-a 2>stop.log >take &
  local direct=$!
  own_child $direct
  tail -n +1 -F stop.log 2>/dev/null | grep -q -m 1 'waiting for the server' # it says so
  SERVER_LISTEN=${MC_SERVER#http://} start_server store --secret-file secret
  wait $direct
  assert_equal "$(cat take)" 001
  run -0 --separate-stderr mc-direct --json status studio-a
  assert_equal "$(jq -r '.takes[0].state' <<<"$output")" finalizing
}

@test "a server that is away: wait keeps its time, watch goes on, get says what is missing" {
  direct_server
  mapfile -t urls < <(mc-direct --quiet new studio-a --guest alice --guest bob --token-file admin)
  mc-direct --quiet rec studio-a
  mkfifo seen
  mc-direct --quiet --json watch studio-a >seen &
  own_child $!
  exec 8<seen
  local line
  read -r line <&8
  kill -KILL "$SERVER_PID"
  wait "$SERVER_PID" || true
  run -75 timeout 20 mc-direct wait studio-a --timeout 1s
  SERVER_LISTEN=${MC_SERVER#http://} start_server store --secret-file secret
  mc-direct --quiet stop studio-a
  read -r line <&8
  assert_equal "$(jq -r '.session.takes[0].state' <<<"$line")" finalizing
}

@test "new that was killed before it kept its answer is run again" {
  direct_server
  mc-direct --quiet new studio-a --guest alice --token-file admin >first
  # The state in which a kill behind the request leaves it: the session is there, the request's name too.
  mkdir -p state/maycast
  key=$(jq -r .create.key store/studio-a/.session)
  printf %s "$key" >state/maycast/director-studio-a.request
  rm state/maycast/director-studio-a
  mc-direct --quiet new studio-a --guest alice --token-file admin >second
  [ -s second ]
  mc-direct --quiet rec studio-a
  [ ! -e state/maycast/director-studio-a.request ]
}

@test "watch tells each change" {
  direct_server
  mc-direct --quiet new studio-a --guest alice --token-file admin >urls
  mkfifo seen
  mc-direct --json watch studio-a >seen &
  local watch=$!
  own_child $watch
  exec 8<seen
  local line
  read -r line <&8
  assert_equal "$(jq -c '.session.takes' <<<"$line")" '[]'
  mc-direct --quiet rec studio-a
  read -r line <&8
  assert_equal "$(jq -r '.session.takes[0].state' <<<"$line")" recording
  kill -TERM $watch
  wait $watch
}

@test "tokens: another session's director and a guest decide nothing" {
  direct_server
  mc-direct --quiet new studio-a --guest alice --token-file admin >urls
  mc-direct --quiet new studio-b --guest alice --token-file admin >urls-b
  expect_exit 77 mc-direct --token-file state/maycast/director-studio-b rec studio-a
  mc-serve token --secret-file secret --role guest --session studio-a --guest alice >guest
  expect_exit 77 mc-direct --token-file guest rec studio-a
  mc-direct --quiet --token-file guest status studio-a
  expect_exit 77 mc-direct new studio-c --guest alice --token-file state/maycast/director-studio-a
  rm -r state
  expect_exit 77 mc-direct rec studio-a
}

@test "bad input" {
  expect_exit 64 mc-direct rec studio-a
  assert_output --partial 'no server is named'
  direct_server
  expect_exit 66 mc-direct --token-file admin status nobody
  expect_exit 64 mc-direct rec ../x
  expect_exit 64 mc-direct stop studio-a 1
  expect_exit 64 mc-direct wait studio-a --state done
  expect_exit 64 mc-direct wait studio-a --timeout soon
  expect_exit 64 mc-direct new studio-a --guest a/b
  mc-direct --quiet new studio-a --guest alice --token-file admin >urls
  expect_exit 69 mc-direct new studio-a --guest alice --token-file admin
  assert_output --partial 'there is a session of this name'
  expect_exit 66 mc-direct get studio-a 007
}
