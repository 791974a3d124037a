#!/usr/bin/env bats
# mc-mux(1): what goes in comes out, at once, and nothing that is broken passes for whole.

load ../helpers/common
load ../helpers/media

SECONDS_OF_MEDIA=2.5

# clip OUT CODEC-OPTIONS...: picture and sound.
clip() {
  local out=$1
  shift
  mapfile -t inputs < <(picture; sound)
  encode "$out" "${inputs[@]}" "$@"
}

h264_aac() { clip "$1" -c:v libx264 -preset ultrafast -g 30 -c:a aac; }

# The events of a fragmented file, one a line.
events_of() { strings -n 10 "$1" | grep -o '{"event":.*}'; }

# film NAME: the film b.mkv in another container, without another encoder. MP4 and FLV come from the TS, fragments from the MP4.
film() {
  case $1 in
    ts) ffmpeg -nostdin -v error -i b.mkv -c:v copy -c:a aac -y b.ts ;;
    flv | mp4) ffmpeg -nostdin -v error -i b.ts -c copy -bsf:a aac_adtstoasc -y "b.$1" ;;
    frag.mp4) ffmpeg -nostdin -v error -i b.mp4 -c copy -movflags frag_keyframe+empty_moov -y b.frag.mp4 ;;
    nut) ffmpeg -nostdin -v error -i b.mkv -c copy -bsf:v h264_mp4toannexb -y b.nut ;;
  esac
}

# containers NAMES...: the same film in each; what mc-mux makes of it.
containers() {
  clip b.mkv -c:v libx264 -preset veryfast -bf 2 -g 30 -c:a libopus
  for name; do film "$name"; done
  for name; do
    mc-mux --quiet <"b.$name" >file.mp4
    cat "b.$name" | mc-mux --quiet >pipe.mp4
    expect_same_media "b.$name" file.mp4 || fail "b.$name"
    # All but the wall times is the same.
    ffmpeg -nostdin -v error -i pipe.mp4 -c copy -f framehash - >pipe.hashes
    ffmpeg -nostdin -v error -i file.mp4 -c copy -f framehash - >file.hashes
    diff pipe.hashes file.hashes || fail "b.$name from a pipe"
  done
}

@test "a container is read, from a pipe and from a file, and gives the same packets at the same times" {
  containers nut
  mc-mux --quiet -o named.mp4 b.nut
  expect_same_media b.nut named.mp4
}

# bats test_tags=long
@test "any container is read, from a pipe and from a file" { containers mkv ts flv mp4 frag.mp4; }

# sound_alone NAMES...: of these kinds.
sound_alone() {
  mapfile -t input < <(sound)
  encode a.aac "${input[@]}" -c:a aac
  encode a.flac "${input[@]}" -c:a flac
  encode a.ogg "${input[@]}" -c:a libopus
  for name; do
    mc-mux --quiet <"a.$name" >out.mp4
    expect_same_media "a.$name" out.mp4 || fail "a.$name"
  done
}

@test "sound alone without a container counts its samples" { sound_alone aac; }

# bats test_tags=long
@test "sound alone without a container counts its samples, FLAC and Ogg" { sound_alone flac ogg; }

@test "each frame is a fragment of its own" {
  h264_aac a.nut
  mc-mux <a.nut >out.mp4
  frames=$(ffprobe -v error -show_entries packet=size -of csv=p=0 a.nut | wc -l)
  [ "$(grep -aobc 'moof' out.mp4)" -gt 0 ]
  [ "$(grep -ao 'moof' out.mp4 | wc -l)" -eq "$frames" ]
  [ "$(grep -ao 'stypmsdh' out.mp4 | wc -l)" -eq 3 ]
}

@test "a frame is out within 100 ms of its last byte, the first one too" {
  h264_aac a.nut
  # The longest depend on what else the machine does; the median of many does not.
  figures=$(frame_latency 9 a.nut mc-mux --quiet)
  echo "$figures" >&3
  for name in first later; do
    ms=$(sed -E "s/(^|.* )$name-ms=([0-9.]+).*/\2/" <<<"$figures")
    awk -v ms="$ms" 'BEGIN { exit !(ms > 0 && ms <= 100) }' || fail "$name: $ms ms"
  done
}

@test "an input that ends inside a packet: what is whole comes out, and no end is said" {
  h264_aac a.nut
  size=$(stat -c %s a.nut)
  head -c $((size / 2)) a.nut >torn.nut
  run --separate-stderr mc-mux -o torn.mp4 torn.nut
  assert_success
  [[ $stderr == *"ends inside a packet"* ]]
  run events_of torn.mp4
  refute_output --partial '"end"'
  # Every packet is one of the source's, and all up to the cut are there.
  packet_hashes a.nut v >want
  packet_hashes torn.mp4 v >got
  [ "$(wc -l <got)" -gt 20 ]
  diff got <(head -n "$(wc -l <got)" want)
}

@test "an input that ends whole and has no event stream: the end is said" {
  h264_aac a.nut
  mc-mux <a.nut >out.mp4
  run events_of out.mp4
  assert_line --index 0 --partial '"start"'
  assert_line --index 1 '{"event":"end"}'
}

# bats test_tags=long
@test "a file of another container that was cut off gives its whole packets" {
  clip a.mkv -c:v libx264 -preset ultrafast -g 30 -c:a libopus
  packet_hashes a.mkv v >want
  size=$(stat -c %s a.mkv)
  for part in 3 4 5 6 7 8 9; do
    head -c $((size * part / 10)) a.mkv | mc-mux --quiet >out.mp4
    packet_hashes out.mp4 v >got
    diff got <(head -n "$(wc -l <got)" want) || fail "at $part tenths"
  done
}

@test "damage in the middle is 65, and the rest still comes out" {
  h264_aac a.nut
  cp a.nut bad.nut
  size=$(stat -c %s a.nut)
  head -c 3000 /dev/urandom | dd of=bad.nut bs=1 seek=$((size / 2)) conv=notrunc status=none
  run --separate-stderr mc-mux -o out.mp4 bad.nut
  assert_failure 65
  [[ $stderr == *"damaged bytes were left out"* ]]
  last=$(packet_hashes a.nut v | tail -1)
  [ "$(packet_hashes out.mp4 v | tail -1)" = "$last" ]
}

@test "what is no media is a clear error and leaves nothing behind" {
  expect_exit 66 mc-mux -o out.mp4 /dev/null
  assert_output --partial "is empty"
  head -c 100000 /dev/urandom >noise
  expect_exit 65 mc-mux -o out.mp4 noise
  expect_exit 66 mc-mux -o out.mp4 missing.mkv
  assert_output --partial "cannot open 'missing.mkv': no such file"
  printf '1\n00:00:00,000 --> 00:00:01,000\nhello\n\n' >text.srt
  expect_exit 69 mc-mux -o out.mp4 text.srt
  [ ! -e out.mp4 ]
}

@test "the same file is refused as input and output" {
  h264_aac a.nut
  sum=$(sha256sum <a.nut)
  expect_exit 64 mc-mux -o a.nut a.nut
  [ "$(sha256sum <a.nut)" = "$sum" ]
}

@test "output that cannot be written is said" {
  h264_aac a.nut
  expect_exit 73 sh -c 'mc-mux <a.nut >/dev/full'
  assert_output --partial "no space left"
  expect_exit 73 mc-mux -o missing/out.mp4 a.nut
  run bash -c 'set -o pipefail; { mc-mux <a.nut; echo "$?" >code; } | true'
  [ "$(cat code)" -eq 74 ]
}

# bats test_tags=long
@test "zero is where --t0 says, and what lies before is left out" {
  h264_aac a.nut
  mc-mux --quiet --t0 1 <a.nut >out.mp4
  run events_of out.mp4
  assert_output --partial '"t0":"1970-01-01T00:00:01.000000000Z"'
  # The first key frame past it: the source has one each second, and begins at 0.
  first=$(packet_times out.mp4 v | sort -n | head -1)
  awk -v t="$first" 'BEGIN { exit !(t >= 0 && t < 0.1) }'
  expect_exit 64 mc-mux --t0 yesterday a.nut
  expect_exit 64 mc-mux --t0 1.x a.nut
}

@test "raw H.264 without time stamps is stamped as it arrives" {
  mapfile -t input < <(picture)
  encode a.h264 "${input[@]}" -c:v libx264 -preset ultrafast -bf 0
  expect_exit 65 mc-mux -o out.mp4 a.h264
  assert_output --partial "--timestamps=arrival"
  mc-mux --format h264 --timestamps arrival <a.h264 >out.mp4
  expect_same_pictures a.h264 out.mp4
}

# bats test_tags=long
@test "a change of parameters gives a new init, and both sizes are decoded" {
  SECONDS_OF_MEDIA=1
  mapfile -t small < <(picture 320x180)
  mapfile -t large < <(picture 640x360)
  encode small.h264 "${small[@]}" -c:v libx264 -preset ultrafast -bf 0
  encode large.h264 "${large[@]}" -c:v libx264 -preset ultrafast -bf 0
  cat small.h264 large.h264 | ffmpeg -nostdin -v error -f h264 -framerate 30 -i - -c copy -f nut both.nut
  mc-mux --quiet <both.nut >out.mp4
  [ "$(grep -ao ftyp out.mp4 | wc -l)" -eq 2 ]
  # A player takes one init, the last, which lists both; that is what a join does.
  mc-mux --quiet <both.nut | mc-spool --quiet write recording
  mc-join --quiet recording -o joined.mp4
  expect_same_pictures both.nut joined.mp4
  [ "$(ffprobe -v error -select_streams v -show_entries frame=width -of csv=p=0 joined.mp4 | tr -d , | grep -cx 640)" -eq 30 ]
}

@test "a stop drains what the producer still writes" {
  h264_aac a.nut
  mkfifo in
  mc-mux <in >out.mp4 &
  mux=$!
  own_child $mux
  exec 8>in
  head -c 50000 a.nut >&8
  kill -INT $mux
  tail -c +50001 a.nut >&8
  exec 8>&-
  wait $mux
  expect_same_media a.nut out.mp4
  run events_of out.mp4
  assert_output --partial '"end"'
}

@test "--json is refused, for stdout carries the media" {
  expect_exit 64 mc-mux --json /dev/null
}
