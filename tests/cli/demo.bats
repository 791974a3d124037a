# label: serial
# The demo: what a stranger sees first. Short, with the tools that are built.
load ../helpers/common

DEMO=$MC_SOURCE/scripts/demo

# Every process of the session that the demo was started in that still runs, but for its leader. (Z: ended, not yet reaped.)
# And of the supervisors, which are in sessions of their own.
left_over() {
  ps -o pid=,stat=,args= --sid "$1" | awk -v leader="$1" '$1 != leader && $2 !~ /^Z/'
  pgrep -a -f -- "$PWD/out/run-" || true
}

# demo ARGUMENTS: in a session of its own, so that what it leaves behind can be found.
demo() {
  MC_DEMO_DIR=$PWD/out MC_DEMO_SECONDS=2 setsid -w bash -c 'echo $$ >sid; exec "$0" "$@"' "$DEMO" "$@"
}

@test "the demo ends Synced, with a playable file, in a fresh directory each time" {
  expect_exit 0 demo
  echo "$output"
  assert_line --regexp '^demo: Synced: '
  assert_line --regexp '^demo: chunks +[23]'
  assert_line --regexp '^demo: Synced +[0-9]+ ms after the end of the recording'
  file=$(sed -n 's/^demo: playable file *//p' <<<"$output")
  pictures=$(ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 "$file")
  [ "$pictures" -ge 45 ]
  assert_line --regexp "^demo: frames +$pictures picture, [1-9][0-9]* sound"
  assert_equal "$(left_over "$(cat sid)")" ''
  recording=$(sed -n 's/^demo: recording   *\//\//p' <<<"$output")
  (cd "$recording" && sha256sum --quiet -c --strict manifest && ls receipt-*)
  expect_exit 0 demo
  [ -s out/run-1/alice.mp4 ] && [ -s out/run-1/bob.mp4 ] && [ -s out/run-2/bob.mp4 ]
}

# bats test_tags=long
@test "the demo records a file in real time" {
  ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25 -f lavfi -i sine=sample_rate=48000 -t 2 \
    -c:v libx264 -preset ultrafast -c:a aac clip.mp4
  expect_exit 0 demo clip.mp4
  echo "$output"
  assert_line --regexp '^demo: Synced: '
  assert_line --regexp '^demo: frames +50 picture, [1-9][0-9]* sound'
}

# bats test_tags=long
@test "the demo records a silent film, and sound without a picture" {
  ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25 -t 1 -c:v libx264 -preset ultrafast silent.mp4
  ffmpeg -v error -f lavfi -i sine=sample_rate=48000 -t 1 -c:a aac dark.m4a
  expect_exit 0 demo silent.mp4
  assert_line --regexp '^demo: frames +25 picture, 0 sound'
  expect_exit 0 demo dark.m4a
  assert_line --regexp '^demo: frames +0 picture, [1-9][0-9]* sound'
  assert_line --regexp '^demo: playable file .*/alice.m4a$'
}

@test "a clip that is no film is an error that says why, and leaves nothing running" {
  head -c 10000 /dev/urandom >noise.mp4
  run demo noise.mp4
  echo "$output"
  [ "$status" -gt 0 ] && [ "$status" -lt 128 ]
  assert_line --partial 'mc-capture: error: '
  assert_equal "$(left_over "$(cat sid)")" ''
}

@test "interrupted, the demo stops its children and says where the recording is" {
  mkfifo said
  MC_DEMO_DIR=$PWD/out MC_DEMO_SECONDS=60 env --default-signal=INT setsid bash -c 'echo $$ >sid; exec "$0"' "$DEMO" >said 2>&1 3>&- &
  own_child $!
  exec 8<said
  while read -r line <&8; do
    echo "$line"
    [[ $line != *'chunks recorded 2,'* ]] || break
  done
  kill -INT "$(cat sid)"
  rest=$(cat <&8)
  assert_equal "$(left_over "$(cat sid)")" ''
  [[ $rest == *"stopped; what was recorded is in $PWD/out/run-1"* ]]
  (cd out/run-1/spool/demo/001/alice && sha256sum --quiet -c manifest)
}
