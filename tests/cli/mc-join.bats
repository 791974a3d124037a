#!/usr/bin/env bats
# mc-join(1): where the file goes and when it appears, what is refused, what a script sees.

load ../helpers/common
load ../helpers/media

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  PATH="${MC_BIN:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/bin}:$PATH"
  ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 2.5 \
    -c:v libx264 -preset ultrafast -g 30 -bf 0 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -y in.mp4
  mc-spool --quiet write rec <in.mp4
}

# A recording of our own, to be damaged.
take_recording() {
  rm -rf rec
  cp -r "$BATS_FILE_TMPDIR/rec" rec
}

left_behind() { find . -name '.*join*'; }

@test "the index stands first, and the file plays from a pipe" {
  take_recording
  mc-join --quiet rec | ffmpeg -nostdin -v error -i - -f null -
  mc-join --quiet rec -o out.mp4
  [ "$(head -c 8 out.mp4 | tail -c 4)" = ftyp ]
  [ "$(grep -abo -m1 moov out.mp4 | head -1 | cut -d: -f1)" -lt "$(grep -abo mdat out.mp4 | head -1 | cut -d: -f1)" ]
  run ffprobe -v error -show_entries format=duration -of csv=p=0 out.mp4
  assert_output --regexp '^2\.5'
}

@test "a file, stdout, a FIFO and a second run get the same bytes" {
  take_recording
  mc-join --quiet rec -o out.mp4
  mc-join --quiet rec -o - | cmp - out.mp4
  mc-join --quiet --no-verify rec | cmp - out.mp4
  mkfifo fifo
  cat fifo >through &
  own_child $!
  mc-join --quiet rec -o fifo
  wait $!
  cmp through out.mp4
  [ -p fifo ]
  cp out.mp4 before
  mc-join --quiet rec -o out.mp4
  cmp before out.mp4
}

@test "says what it made: one line for a person, one event for a program" {
  take_recording
  run --separate-stderr mc-join rec -o out.mp4
  assert_success
  [ -z "$output" ]
  [[ $stderr == "mc-join: out.mp4: 3 chunks, 0:02, 75 pictures, "*" verified" ]]
  run --separate-stderr mc-join --json --quiet rec -o out.mp4
  assert_success
  [ -z "$stderr" ]
  [ "$(jq -r '.event, .chunks, .video_frames, .closed, .verified' <<<"$output" | paste -sd' ')" = "joined 3 75 true true" ]
  [ "$(jq .bytes <<<"$output")" -eq "$(stat -c %s out.mp4)" ]
  run --separate-stderr mc-join --progress=always rec -o out.mp4
  assert_success
}

@test "the old file stays until the new one is whole" {
  take_recording
  echo old >out.mp4
  printf X | dd of=rec/chunk_000002.m4s bs=1 seek=5000 conv=notrunc status=none
  expect_exit 65 mc-join rec -o out.mp4
  assert_output --partial "'chunk_000002.m4s' is damaged"
  [ "$(cat out.mp4)" = old ]
  [ -z "$(left_behind)" ]
  mc-join --quiet --no-verify rec -o out.mp4
  ffprobe -v error out.mp4
}

@test "a missing chunk, a damaged manifest and a recording without chunks are damage" {
  take_recording
  rm rec/chunk_000003.m4s
  expect_exit 65 mc-join rec -o out.mp4
  assert_output --partial chunk_000003.m4s
  take_recording
  sed -i 's/video=30/video=31/' rec/manifest
  expect_exit 65 mc-join rec -o out.mp4
  assert_output --partial manifest
  take_recording
  sed -i '/chunk_/d; /^# chunk/d; /^# end/d' rec/manifest
  expect_exit 65 mc-join rec -o out.mp4
  assert_output --partial empty
  [ ! -e out.mp4 ]
}

@test "no recording is 66, by path and by URL" {
  expect_exit 66 mc-join nowhere -o out.mp4
  mkdir none
  expect_exit 66 mc-join none -o out.mp4
  start_server "$PWD/store"
  expect_exit 66 mc-join "$SERVER_URL/v1/recordings/demo/001/alice/" -o out.mp4
  [ ! -e out.mp4 ]
  [ -z "$(left_behind)" ]
}

@test "a server that is not there is 75" {
  run mc-join http://127.0.0.1:1/v1/recordings/demo/001/alice/ -o out.mp4
  [ "$status" -eq 75 ]
  [ -z "$(left_behind)" ]
}

@test "an open recording is joined as far as it is, with a warning" {
  take_recording
  sed -i '/^# end/d' rec/manifest
  rm rec/chunk_000003.m4s
  sed -i '/chunk_000003/d; /^# chunk 3 /d' rec/manifest
  run mc-join rec -o out.mp4
  assert_success
  assert_output --partial "mc-join: warning: 'rec' is an open recording"
  [ "$(ffprobe -v error -select_streams v -count_packets -show_entries stream=nb_read_packets -of csv=p=0 out.mp4)" -eq 60 ]
}

@test "a file of the recording cannot be the output" {
  take_recording
  sha256sum rec/* >sums
  expect_exit 64 mc-join rec -o rec/chunk_000001.m4s
  expect_exit 64 mc-join rec -o rec/../rec/manifest
  expect_exit 64 bash -c 'mc-join rec >>rec/chunk_000001.m4s'
  head -c "$(stat -c %s "$BATS_FILE_TMPDIR/rec/chunk_000001.m4s")" rec/chunk_000001.m4s | cmp - "$BATS_FILE_TMPDIR/rec/chunk_000001.m4s"
}

@test "what cannot be created or has no room is 73; a reader that goes away is 74" {
  take_recording
  expect_exit 73 mc-join rec -o none/out.mp4
  expect_exit 73 mc-join rec -o .
  expect_exit 73 mc-join rec -o /dev/full
  expect_exit 73 bash -c 'mc-join rec >/dev/full'
  expect_exit 74 bash -c 'mc-join rec >&-'
  expect_exit 74 bash -c 'mc-join rec 2>err | head -c 1 >one; exit ${PIPESTATUS[0]}'
  mc-join --quiet rec -o /dev/null
  [ -c /dev/null ]
}

@test "no binary on a terminal, no event in the middle of a file" {
  take_recording
  run script -qec 'mc-join rec' /dev/null
  [ "$status" -eq 64 ]
  assert_output --partial 'will not write binary data to a terminal'
  expect_exit 64 mc-join --json rec
}

@test "asked to stop while nobody reads, it dies by the signal" {
  take_recording
  mkfifo fifo
  exec 8<>fifo
  mc-join --quiet rec -o fifo 8<&- &
  child=$!
  own_child $child
  head -c 1 <&8 >/dev/null # it is writing now, and there is more than the FIFO holds
  kill -TERM $child
  status=0
  wait $child || status=$?
  exec 8<&-
  [ "$status" -eq 143 ]
}
