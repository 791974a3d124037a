# The client's side of tokens: mc-push, mc-verify and mc-join against an mc-serve that asks for them.
load ../helpers/common

ROOM=studio-a/001/alice

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=160x120:rate=10,noise=alls=20:allf=t" -t 3 -c:v libx264 -preset ultrafast \
    -g 10 -bf 0 -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 -y video.mp4
  mc-spool --quiet write spool/$ROOM <video.mp4
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  unset MC_TOKEN_FILE CREDENTIALS_DIRECTORY
  cp -r "$BATS_FILE_TMPDIR/spool" .
  mc-serve --quiet secret secret
  start_server store --secret-file secret
}

mint() { mc-serve token --secret-file secret "$@"; }
guest() { mint --role guest --session studio-a --guest alice "$@"; }

@test "a guest's token brings its recording to Synced, from the option, the environment or the service manager" {
  guest >token
  mc-push --token-file token spool/$ROOM "$SERVER_URL"
  MC_TOKEN_FILE=token mc-push spool/$ROOM "$SERVER_URL"
  mkdir credentials
  cp token credentials/mc-token
  CREDENTIALS_DIRECTORY=$PWD/credentials mc-push spool/$ROOM "$SERVER_URL"
  diff -r -x '.*' spool/$ROOM store/$ROOM
  # A pipe is a file too.
  mc-push --token-file <(guest) spool/$ROOM "$SERVER_URL"
}

@test "mc-verify and mc-join take a token too, and end with 77 without one" {
  guest >token
  mint --role reader --session studio-a >reader
  mc-push --token-file token spool/$ROOM "$SERVER_URL"
  mc-verify --token-file token spool/$ROOM "$SERVER_URL"
  mc-join --token-file reader "$SERVER_URL/v1/recordings/$ROOM/" -o joined.mp4
  mc-verify --token-file reader "$SERVER_URL/v1/recordings/$ROOM/"
  expect_exit 77 mc-verify --token-file token "$SERVER_URL/v1/recordings/$ROOM/"
  ffprobe -v error joined.mp4
  expect_exit 77 mc-verify spool/$ROOM "$SERVER_URL"
  expect_exit 77 mc-join "$SERVER_URL/v1/recordings/$ROOM/" -o other.mp4
  assert_output --partial 'answered 401'
  expect_exit 77 mc-join --token-file token "$SERVER_URL/v1/recordings/$ROOM/" -o other.mp4 # a guest may not read media
}

@test "without any token 401 ends it with 77 and a hint; a token for another guest ends it with 77" {
  expect_exit 77 mc-push spool/$ROOM "$SERVER_URL"
  assert_output --partial 'answered 401'
  assert_output --partial '--token-file'
  mint --role guest --session studio-a --guest bob >bob
  expect_exit 77 mc-push --token-file bob spool/$ROOM "$SERVER_URL"
  assert_output --partial 'answered 403'
  [ ! -e store/$ROOM ]
}

@test "a token that is no good is an alarm, said once; with a new one in the file it goes on to Synced; never in a log" {
  guest --expires 1s >token
  old=$(cat token)
  # Wrong for the server's clock as well as for anybody's patience: signed by nobody.
  printf '%s\n' "${old%??????}abcdef" >token
  bad=$(cat token)
  mkfifo events
  mc-push --verbose --json --token-file token spool/$ROOM "$SERVER_URL" >events 2>push.log 3>&- &
  pid=$!
  own_child "$pid"
  exec {EVENTS}<events
  while read -r line <&"$EVENTS"; do
    printf '%s\n' "$line" >>events.log
    [[ $line != *'"event":"alarm"'* ]] || break
  done
  [[ $line == *'answered 401'* ]]
  guest >new
  good=$(cat new)
  mv new token
  cat <&"$EVENTS" >>events.log
  wait "$pid"
  grep -q '"event":"synced"' events.log
  [ "$(grep -c '"event":"alarm"' events.log)" -eq 1 ]
  [ "$(grep -c 'error: .*answered 401' push.log)" -eq 1 ]
  grep -q 'accepted again' push.log
  diff -r -x '.*' spool/$ROOM store/$ROOM
  for secret in "$bad" "$good"; do
    run grep -rF -- "$secret" events.log push.log store server.log spool
    [ "$status" -eq 1 ] || fail "the token is in: $output"
  done
}

# read_events_until NAME: from descriptor EVENTS into events.log, up to the event of this name.
read_events_until() {
  local line
  while read -r line <&"$EVENTS"; do
    printf '%s\n' "$line" >>events.log
    [[ $line != *"\"event\":\"$1\""* ]] || return 0
  done
  fail "mc-push ended before '$1': $(cat events.log push.log)"
}

@test "tokens are revoked in the middle of a recording: an alarm; the recording goes on, and a new token brings it to Synced" {
  guest >token
  live=live/$ROOM
  mkfifo events media
  mc-push --json --follow --token-file token "$live" "$SERVER_URL" >events 2>push.log 3>&- &
  push=$!
  own_child "$push"
  exec {EVENTS}<events
  mc-spool --quiet write "$live" <media 3>&- &
  spool=$!
  own_child "$spool"
  exec {MEDIA}>media
  video=$BATS_FILE_TMPDIR/video.mp4
  part=$(($(stat -c %s "$video") * 8 / 10)) # two seconds of three
  head -c "$part" "$video" >&"$MEDIA"
  until tail -n 1 events.log 2>/dev/null | grep -q chunk_000001.m4s; do read_events_until uploaded; done
  echo 'min-epoch 1 studio-a' >>secret
  tail -c +$((part + 1)) "$video" >&"$MEDIA"
  exec {MEDIA}>&-
  read_events_until alarm
  tail -n 1 events.log | grep -q 'answered 401.*revoked'
  # The rest of it is recorded and whole while nobody is let in.
  wait "$spool"
  grep -q '^# end chunks=3 ' "$live/manifest"
  mc-verify "$live"
  run ! ls "$live"/receipt-*
  guest >new
  mv new token
  read_events_until synced
  wait "$push"
  diff -r -x '.*' "$live" store/$ROOM
  grep -q '"event":"token-refused",.*"problem":"token-revoked"' store/.audit.jsonl
}

@test "a token file that cannot be used is 78, from wherever it comes" {
  printf 'two words\n' >words
  : >empty
  for file in nothing words empty .; do
    expect_exit 78 mc-push --token-file "$file" spool/$ROOM "$SERVER_URL"
    MC_TOKEN_FILE=$file expect_exit 78 mc-verify spool/$ROOM "$SERVER_URL"
    MC_TOKEN_FILE=$file expect_exit 78 mc-join "$SERVER_URL/v1/recordings/$ROOM/" -o joined.mp4
    refute_output --partial 'two words'
  done
}

@test "--limit-rate holds for all connections together, and takes curl's suffixes" {
  guest >token
  size=$(cat spool/$ROOM/chunk_* | wc -c)
  [ "$size" -gt 60000 ]
  began=$(date +%s%N)
  mc-push --token-file token --limit-rate $((size / 2048))k spool/$ROOM "$SERVER_URL"
  [ $((($(date +%s%N) - began) / 1000000)) -gt 1500 ] # of about 2000
  for rate in 0 -1 x 5q 1.5.2k ''; do expect_exit 64 mc-push --limit-rate "$rate" spool/$ROOM "$SERVER_URL"; done
  for rate in 100 100k 1M 1G; do mc-push --token-file token --limit-rate $rate spool/$ROOM "$SERVER_URL"; done
}
