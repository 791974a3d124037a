#!/usr/bin/env bats
# Frames in = frames out (issue: first light, point 1): what goes through mc-mux, mc-spool and mc-join is the same coded
# packets, at the same times, decoded to the same pictures.

load ../helpers/common
load ../helpers/media

H264=(-c:v libx264 -preset ultrafast -g 30 -bf 0)
AAC=(-c:a aac -b:a 96k)

# same_through_the_chain SOURCE [ffmpeg input options...]
same_through_the_chain() {
  through_the_chain "$1" out.mp4 "${@:2}"
  expect_same_media "$1" out.mp4
}

both() { mapfile -t INPUT < <(picture "${1:-}" "${2:-}"; sound "${3:-}"); }

# bats test_tags=long
@test "the comparison notices a lost packet, a late stream, a picture that changed and a time off by two ticks" {
  both
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  encode same.mkv -i s.mp4 -c copy
  expect_same_packets s.mp4 same.mkv
  expect_same_pictures s.mp4 same.mkv
  encode lost.mp4 -i s.mp4 -c copy -frames:v 104
  run expect_same_packets s.mp4 lost.mp4
  assert_failure
  run expect_same_times s.mp4 lost.mp4
  assert_failure
  encode late.mp4 -i s.mp4 -itsoffset 0.005 -i s.mp4 -map 0:v -map 1:a -c copy
  expect_same_packets s.mp4 late.mp4
  run expect_same_times s.mp4 late.mp4
  assert_failure
  encode jitter.mp4 -i s.mp4 -c copy -bsf:v "setts=ts=TS+2*eq(N\,50)"
  run expect_same_times s.mp4 jitter.mp4
  assert_failure
  encode other.mp4 -i s.mp4 "${H264[@]}" -crf 30 -c:a copy
  run expect_same_pictures s.mp4 other.mp4
  assert_failure
}

@test "H.264 and AAC" {
  both
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "H.264 and Opus" {
  both
  encode s.mkv "${INPUT[@]}" "${H264[@]}" -c:a libopus
  same_through_the_chain s.mkv
}

# bats test_tags=long
@test "HEVC and AAC" {
  both
  encode s.mp4 "${INPUT[@]}" -c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=30:open-gop=0:bframes=0 -tag:v hvc1 "${AAC[@]}"
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "AV1 and Opus" {
  both
  encode s.mp4 "${INPUT[@]}" -c:v libaom-av1 -usage realtime -cpu-used 8 -g 30 -c:a libopus
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "VP9 and Opus" {
  both
  encode s.webm "${INPUT[@]}" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -c:a libopus
  same_through_the_chain s.webm
}

@test "AAC alone" {
  mapfile -t INPUT < <(sound 44100)
  encode s.m4a "${INPUT[@]}" "${AAC[@]}"
  same_through_the_chain s.m4a
}

# bats test_tags=long
@test "FLAC alone" {
  mapfile -t INPUT < <(sound 44100)
  encode s.flac "${INPUT[@]}" -c:a flac
  same_through_the_chain s.flac
}

# bats test_tags=long
@test "variable frame rate" {
  both
  encode s.mp4 "${INPUT[@]}" -vf "settb=1/90000,setpts='PTS+350*mod(N*N\,7)*lt(mod(N\,11)\,6)',select='gt(mod(n\,13)\,0)+eq(n\,0)'" \
    -vsync passthrough -enc_time_base 1/90000 -video_track_timescale 90000 "${H264[@]}" "${AAC[@]}"
  [ "$(packet_times s.mp4 v | awk 'NR > 1 { print int(($1 - last) * 1000) } { last = $1 }' | sort -u | wc -l)" -gt 5 ]
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "29.97 frames a second" {
  both 320x180 30000/1001 44100
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  same_through_the_chain s.mp4
}

@test "a hole of 2.5 seconds in the picture" {
  SECONDS_OF_MEDIA=6 both
  encode s.mp4 "${INPUT[@]}" -vf "select='lt(t\,1.5)+gte(t\,4)'" -vsync passthrough "${H264[@]}" "${AAC[@]}"
  packet_times s.mp4 v | awk 'NR > 1 && $1 - last > 2.4 { found = 1 } { last = $1 } END { exit !found }'
  same_through_the_chain s.mp4
  grep -q '^# gap track=1 ' recording/manifest
}

# bats test_tags=long
@test "a hole of 2.5 seconds in picture and sound" {
  SECONDS_OF_MEDIA=6 both
  encode s.mkv "${INPUT[@]}" -vf "select='lt(t\,1.5)+gte(t\,4)'" -af "aselect='lt(t\,1.5)+gte(t\,4)'" -vsync passthrough \
    "${H264[@]}" -c:a libopus
  same_through_the_chain s.mkv
}

@test "sound that starts 0.7 seconds late" {
  mapfile -t INPUT < <(picture; echo -itsoffset; echo 0.7; sound)
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  packet_times s.mp4 a | awk 'NR == 1 { exit !($1 > 0.6) }'
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "picture that starts 0.7 seconds late" {
  mapfile -t INPUT < <(echo -itsoffset; echo 0.7; picture; sound)
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  same_through_the_chain s.mp4
}

@test "B-frames" {
  both
  encode s.mp4 "${INPUT[@]}" -c:v libx264 -preset ultrafast -g 30 -bf 3 -b_strategy 0 "${AAC[@]}"
  ffprobe -v error -select_streams v -show_entries packet=pts,dts -of csv=p=0 s.mp4 | awk -F, '$1 != $2 { found = 1 } END { exit !found }'
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "HEVC with B-frames" {
  both
  encode s.mp4 "${INPUT[@]}" -c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=30:open-gop=0:bframes=3:b-adapt=0 -tag:v hvc1 "${AAC[@]}"
  same_through_the_chain s.mp4
}

# bats test_tags=long
@test "HEVC with HDR10 metadata: mastering display and light level stay in hvcC and with the pictures" {
  both
  encode s.mp4 "${INPUT[@]}" -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 "${AAC[@]}" -x265-params \
    "log-level=error:keyint=30:open-gop=0:bframes=0:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
  same_through_the_chain s.mp4
  for name in s.mp4 out.mp4; do
    ffprobe -v error -select_streams v -read_intervals '%+#1' -show_frames "$name" >$name.side
    grep -q '^max_luminance=10000000/10000' $name.side || fail "$name: $(cat $name.side)"
    grep -q '^max_content=1000' $name.side || fail "$name: $(cat $name.side)"
  done
}

# bats test_tags=long
@test "Annex B from MPEG-TS, with parameter sets in band, and the same as avcC" {
  both
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  ffmpeg -v error -i s.mp4 -c copy -y s.ts  # the sound with ADTS headers then
  ffmpeg -v error -i s.ts -c copy -f nut -y s.nut
  packet=$(ffprobe -v error -select_streams v -show_entries packet=data -show_data -read_intervals '%+#1' s.nut | grep -m1 '^00000000')
  [[ $packet == "00000000: 0000 0001 "* ]]
  same_through_the_chain s.nut
  mv out.mp4 annexb.mp4
  same_through_the_chain s.mp4
  expect_same_packets annexb.mp4 out.mp4
}

@test "through a server and back: joined from its URL" {
  both
  encode s.mp4 "${INPUT[@]}" "${H264[@]}" "${AAC[@]}"
  mkdir -p spool/studio/001
  through_the_chain s.mp4 here.mp4
  mv recording spool/studio/001/alice
  mc-spool --quiet close spool/studio/001/alice
  start_server "$PWD/store"
  mc-push --quiet spool/studio/001/alice "$SERVER_URL"
  path=$(sed -n 's/^# recording [^ ]* \([^ ]*\) .*/\1/p' spool/studio/001/alice/manifest)
  mc-join --quiet "$SERVER_URL/v1/recordings/$path/" -o there.mp4
  cmp here.mp4 there.mp4
  [ "$(find . -maxdepth 1 -name '.*' ! -name .)" = "" ]
}
