#!/usr/bin/env bats
# mc-spool: other programs' fragmented MP4, the manifest, continuing, closing, bad input.

load ../helpers/common
load ../helpers/media

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 3.5 \
    -c:v libx264 -preset ultrafast -bf 2 -g 30 -c:a aac -y av.mkv
  ffmpeg -v error -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2.5 -c:a aac -y a.mp4
}

# fmp4 FLAGS: the picture and sound of av.mkv as fragmented MP4 of ffmpeg's own making, on stdout.
fmp4() { ffmpeg -v error -i "$BATS_FILE_TMPDIR/av.mkv" -c copy -movflags "$1" -f mp4 -; }

# check_recording DIR: the manifest, its root and the fsck agree.
check_recording() {
  (cd "$1" && sha256sum -c --strict --quiet manifest)
  local root
  root=$(head -n -1 "$1/manifest" | sha256sum | cut -d' ' -f1)
  grep -q "^# end .*root=$root " "$1/manifest"
  mc-verify "$1"
}

# takes FLAGS...: fragmented MP4 of ffmpeg's with these movflags.
takes() {
  for flags; do
    rm -rf rec
    fmp4 "$flags" | mc-spool --quiet write rec
    check_recording rec
    [ "$(mc-spool list rec | grep -c '^chunk_')" -eq 4 ] || { echo "$flags"; mc-spool list rec; false; }
    mc-join --quiet rec -o out.mp4
    for stream in v a; do
      ffprobe -v error -select_streams $stream -show_entries packet=data_hash -show_data_hash sha256 -of csv=p=0 "$BATS_FILE_TMPDIR/av.mkv" >want
      ffprobe -v error -select_streams $stream -show_entries packet=data_hash -show_data_hash sha256 -of csv=p=0 out.mp4 >got
      cmp want got || { echo "$flags: packets of $stream differ"; false; }
    done
    ffmpeg -v error -i "$BATS_FILE_TMPDIR/av.mkv" -map 0:v -f framehash - | grep -v '^#' | sed 's/.*, *//' >want
    ffmpeg -v error -i out.mp4 -map 0:v -f framehash - | grep -v '^#' | sed 's/.*, *//' >got
    cmp want got || { echo "$flags: pictures differ"; false; }
  done
}

@test "takes ffmpeg's fragmented MP4, picture with B-frames and sound" { takes frag_every_frame+empty_moov+default_base_moof; }

# bats test_tags=long
@test "takes ffmpeg's fragmented MP4 of every kind" {
  takes frag_keyframe+empty_moov+default_base_moof cmaf dash+frag_keyframe frag_keyframe+empty_moov frag_keyframe+delay_moov
}

@test "sound alone is cut at whole seconds" {
  ffmpeg -v error -i "$BATS_FILE_TMPDIR/a.mp4" -c copy -movflags frag_every_frame+empty_moov -f mp4 - | mc-spool --quiet write rec
  check_recording rec
  [ "$(mc-spool list rec | grep -c '^chunk_')" -eq 3 ]
}

@test "a camera that jitters still gives chunks of one second" {
  # Every picture 2 ms early or late, key frames in turn, and some up to 15 ms late.
  ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 12 \
    -vf 'settb=1/90000,setpts=PTS+(2*mod(N+floor(N/30)\,2)-1)*180+not(mod(N\,10))*mod(N\,3)*675' -vsync passthrough -enc_time_base:v 1/90000 \
    -c:v libx264 -preset ultrafast -force_key_frames 'expr:not(mod(n,30))' -g 30 -sc_threshold 0 -bf 0 -c:a aac -f nut -y jitter.nut
  mc-mux --quiet <jitter.nut | mc-spool --quiet write rec
  check_recording rec
  run bash -c "mc-spool --json list rec | jq -r 'select(.name | startswith(\"chunk_\")?) | .dur_s'"
  assert_success
  [ "${#lines[@]}" -eq 12 ] || { echo "$output"; false; }
  for duration in "${lines[@]}"; do
    jq -en --argjson d "$duration" '$d > 0.95 and $d < 1.05' >/dev/null || { echo "a chunk of $duration s"; false; }
  done
  run bash -c "ffprobe -v error -select_streams v -show_entries packet=pts_time -of csv=p=0 jitter.nut | awk 'NR > 1 && \$1 - p < 0.031 { n++ } { p = \$1 } END { print n + 0 }'"
  [ "$output" -gt 50 ] || { echo "the input does not jitter: $output"; false; }
}

@test "each chunk behind its init plays alone, from its first frame" {
  fmp4 frag_keyframe+empty_moov+default_base_moof | mc-spool --quiet write rec
  for chunk in rec/chunk_*; do
    cat rec/init_001.mp4 "$chunk" >one.mp4
    run ffmpeg -v error -i one.mp4 -map 0:v -f framehash -
    assert_success
    refute_output --partial error
  done
}

@test "the recording's name comes from the directory, or from --as" {
  fmp4 cmaf | mc-spool --quiet write spool/studio/002/bob
  grep -q "^# recording [0-9a-f]* studio/002/bob " spool/studio/002/bob/manifest
  fmp4 cmaf | mc-spool --quiet write x --as a/001/花子
  grep -q "^# recording [0-9a-f]* a/001/花子 " x/manifest
  fmp4 cmaf | mc-spool --quiet write y
  grep -q "^# recording [0-9a-f]* solo/001/y " y/manifest
}

@test "acknowledgements come after the flush, and a reader who is not there stops nothing" {
  fmp4 cmaf | mc-spool --quiet write rec --events 5 5>events
  [ "$(grep -c '"event":"durable"' events)" -eq "$(mc-verify --json rec | jq '.video_frames + .audio_frames')" ]
  [ "$(grep -c '"event":"chunk"' events)" -eq 4 ]
  mkfifo nobody
  exec 6<>nobody
  fmp4 cmaf | mc-spool --quiet write rec2 --events 6 6>nobody
  check_recording rec2
}

@test "input that ends inside a fragment leaves the recording open; writing again continues it" {
  fmp4 frag_every_frame+empty_moov+default_base_moof >whole.mp4
  head -c $(($(stat -c %s whole.mp4) * 2 / 3)) whole.mp4 >torn.mp4
  expect_exit 1 mc-spool write rec <torn.mp4
  assert_output --partial "stays open"
  run grep -c '^# end' rec/manifest
  assert_output 0
  before=$(mc-spool list rec | grep -c '^chunk_')
  mc-verify rec
  mc-spool --quiet write rec <whole.mp4
  check_recording rec
  [ "$(mc-spool list rec | grep -c '^chunk_')" -eq $((before + 4)) ]
  grep -q "^# gap .*reason=restarted" rec/manifest || grep -q "put behind" <<<"$output" || true
  mc-join --quiet rec -o out.mp4
  expect_playable out.mp4
}

@test "close ends an open recording, and doing it twice changes nothing" {
  fmp4 frag_every_frame+empty_moov+default_base_moof | head -c 60000 >torn.mp4
  expect_exit 1 mc-spool write rec <torn.mp4
  mc-spool --quiet close rec
  check_recording rec
  cp rec/manifest before
  mc-spool --quiet close rec
  cmp rec/manifest before
  expect_exit 69 mc-spool write rec <torn.mp4
  assert_output --partial "is closed"
  cmp rec/manifest before
}

@test "a second writer on the same directory is refused" {
  mkfifo in ready
  mc-spool --quiet write rec --notify-fd 9 <in 9>ready &
  own_child $!
  exec 7>in
  read -r _ <ready
  expect_exit 75 mc-spool write rec </dev/null
  assert_output --partial "is being recorded"
  fmp4 cmaf >&7
  exec 7>&-
  wait "${CHILDREN[0]}"
  check_recording rec
}

@test "kill -9 of the writer: recovery finds every acknowledged frame" {
  fmp4 frag_every_frame+empty_moov+default_base_moof >whole.mp4
  for part in 20000 60000 90000; do
    rm -rf rec in acks
    mkfifo in acks
    exec 8<>acks
    mc-spool --quiet write rec --events 5 <in 5>&8 &
    pid=$!
    own_child $pid
    exec 7>in
    head -c $part whole.mp4 >&7
    read -r line <&8
    kill -KILL $pid
    wait $pid || true
    exec 7>&-
    # What it had said before it died lies in the pipe.
    acked=0
    while [ -n "$line" ]; do
      [[ $line != *'"event":"durable"'* ]] || acked=$((acked + 1))
      line=
      read -r -t 0.2 line <&8 || true
    done
    mc-spool --quiet recover rec
    mc-verify rec
    found=$(mc-verify --json rec | jq '.video_frames + .audio_frames')
    [ "$found" -ge "$acked" ] || { echo "$found frames of $acked"; false; }
    cp -r rec once
    mc-spool --quiet recover rec
    diff -r -x .control once rec
    rm -rf once
  done
}

@test "bad input: a clear line, the right code, and no recording that claims to be one" {
  expect_exit 66 mc-spool write e1 </dev/null
  assert_output --partial "stdin is empty"
  head -c 5000 /dev/zero | tr '\0' 'x' >garbage
  expect_exit 65 mc-spool write e2 <garbage
  expect_exit 66 mc-spool list nowhere
  expect_exit 66 mc-spool close nowhere
  expect_exit 64 mc-spool
  expect_exit 64 mc-spool write
  expect_exit 64 mc-spool write rec --as ../../etc </dev/null
  [ ! -e e1/manifest ] && [ ! -e e2/manifest ]
}

# bats test_tags=long
@test "truncated at 200 places: never a crash, never closed, never lost before the cut" {
  fmp4 frag_every_frame+empty_moov+default_base_moof >whole.mp4
  size=$(stat -c %s whole.mp4)
  for i in $(seq 1 200); do
    rm -rf rec
    head -c $((size * i / 201)) whole.mp4 >cut.mp4
    run mc-spool --quiet write rec <cut.mp4
    [ "$status" -eq 0 ] || [ "$status" -eq 1 ] || [ "$status" -eq 65 ] || { echo "place $i: exit $status: $output"; false; }
    if [ -e rec/manifest ]; then
      run mc-verify rec
      assert_success
    else
      [ "$status" -ne 0 ]
    fi
  done
}
