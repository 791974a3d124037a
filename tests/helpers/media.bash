# shellcheck shell=bash
# Sources for the tests, the chain from a source to one file again, and comparisons of two files packet by packet.
# `load ../helpers/media`. What is compared comes from ffprobe and ffmpeg, never from a tool of ours.

# encode OUT INPUT-AND-CODEC-OPTIONS...: a small file made by ffmpeg.
encode() {
  local out=$1
  shift
  ffmpeg -nostdin -v error "$@" -y "$out"
}

# picture [SIZE [RATE]]: the options that make 3.5 s of moving picture ffmpeg's next input; sound [RATE] likewise.
picture() { printf '%s\n' -f lavfi -t "${SECONDS_OF_MEDIA:-3.5}" -i "testsrc2=size=${1:-320x180}:rate=${2:-30}"; }
sound() { printf '%s\n' -f lavfi -t "${SECONDS_OF_MEDIA:-3.5}" -i "sine=frequency=440:sample_rate=${1:-48000}"; }

# through_the_chain SOURCE OUT [ffmpeg input options...]: SOURCE as NUT through mc-mux, mc-spool and mc-join. The
# recording stays in ./recording. Each part must succeed, and the recording must verify.
through_the_chain() {
  local source=$1 out=$2 codes
  shift 2
  rm -rf recording
  codes="0 0 0"
  ffmpeg -nostdin -v error "$@" -i "$source" -map 0 -c copy -f nut - | mc-mux --quiet | mc-spool --quiet write recording ||
    codes="${PIPESTATUS[*]}"
  [ "$codes" = "0 0 0" ] || { echo "exit codes of ffmpeg, mc-mux, mc-spool: $codes"; return 1; }
  mc-verify --quiet recording || { echo "the recording does not verify"; return 1; }
  (cd recording && sha256sum -c --strict --quiet manifest) || return 1
  mc-join --quiet recording -o "$out"
}

# codec_of FILE STREAM: h264, aac, …; nothing when there is no such stream. STREAM is v or a.
codec_of() { ffprobe -v error -select_streams "$2:0" -show_entries stream=codec_name -of csv=p=0 "$1" | head -1; }

# packet_hashes FILE STREAM: a line with size and hash of each coded packet, in decode order. Of H.264 and HEVC the
# slices as Annex B: where the parameter sets stand, and access unit delimiters, are the container's business, and so are
# the ADTS headers of AAC. (SEI of HEVC may stand in hvcC, from where ffmpeg puts them before each IDR.)
packet_hashes() {
  local filter=()
  case $(codec_of "$1" "$2") in
    h264) filter=(-bsf "h264_mp4toannexb,filter_units=remove_types=7|8|9") ;;
    hevc) filter=(-bsf "hevc_mp4toannexb,filter_units=remove_types=32|33|34|35|39") ;;
    aac) filter=(-bsf aac_adtstoasc) ;;
  esac
  ffmpeg -nostdin -v error -i "$1" -map "0:$2:0" -c copy "${filter[@]}" -copyts -f framehash - |
    grep -v '^#' | awk -F', *' '{ print $5, $6 }'
}

# frame_hashes FILE: a line with the hash of each decoded picture, in the order of showing.
frame_hashes() {
  ffmpeg -nostdin -v error -i "$1" -map 0:v:0 -vsync passthrough -f framehash - | grep -v '^#' | awk -F', *' '{ print $6 }'
}

# packet_times FILE STREAM: the presentation time of each packet in seconds, in decode order.
packet_times() {
  local base
  base=$(ffprobe -v error -select_streams "$2:0" -show_entries stream=time_base -of csv=p=0 "$1" | head -1)
  ffprobe -v error -select_streams "$2:0" -show_entries packet=pts -of csv=p=0 "$1" |
    awk -F, -v base="$base" 'BEGIN { split(base, b, "/") } $1 ~ /^-?[0-9]/ { printf "%.9f\n", $1 * b[1] / b[2] }'
}

# tick_of FILE STREAM: of the stream's time base, in seconds.
tick_of() {
  ffprobe -v error -select_streams "$2:0" -show_entries stream=time_base -of csv=p=0 "$1" | head -1 |
    awk -F/ '{ printf "%.9f\n", $1 / $2 }'
}

streams_of() {
  local stream
  for stream in v a; do [ -z "$(codec_of "$1" $stream)" ] || echo $stream; done
}

# expect_same_packets SOURCE OUT: the same packets in the same order, in each stream, and not one more or less.
expect_same_packets() {
  local stream
  [ "$(streams_of "$1")" = "$(streams_of "$2")" ] || { echo "other streams: $(streams_of "$2")"; return 1; }
  for stream in $(streams_of "$1"); do
    [ "$(codec_of "$1" "$stream")" = "$(codec_of "$2" "$stream")" ] || { echo "another codec in $stream"; return 1; }
    packet_hashes "$1" "$stream" >"want.$stream"
    packet_hashes "$2" "$stream" >"got.$stream"
    [ -s "want.$stream" ] || { echo "no packets in $1"; return 1; }
    diff "want.$stream" "got.$stream" >difference || { echo "packets of $stream differ:"; head -20 difference; return 1; }
  done
}

# expect_same_times SOURCE OUT: each presentation time within one tick of the source, after one shift that is the same
# for all streams (a recording's time 0 is its first frame).
expect_same_times() {
  local stream tick shift=''
  for stream in $(streams_of "$1"); do
    packet_times "$1" "$stream" >"want.$stream"
    packet_times "$2" "$stream" >"got.$stream"
    tick=$(tick_of "$1" "$stream")
    # The first stream says how far the files are apart, the second must agree to the tick.
    [ -n "$shift" ] || shift=$(paste "want.$stream" "got.$stream" | awk 'NR == 1 { printf "%.9f", $1 - $2 }')
    paste "want.$stream" "got.$stream" | awk -v shift="$shift" -v tick="$tick" -v stream="$stream" '
      NF != 2 { printf "stream %s: not as many packets as before\n", stream; missing = 1; exit 1 }
      { d = $1 - $2 - shift; if (d < 0) d = -d; if (d > worst) { worst = d; at = NR } n++ }
      END {
        if (missing) exit 1
        if (worst <= tick + 1e-7) exit 0
        printf "stream %s: packet %d is off by %.6f s, more than a tick of %.6f s\n", stream, at, worst, tick
        exit 1
      }' || return 1
  done
}

# expect_same_pictures SOURCE OUT: the same pictures are decoded, in the same order.
expect_same_pictures() {
  frame_hashes "$1" >want.frames
  frame_hashes "$2" >got.frames
  [ -s want.frames ] || { echo "no pictures in $1"; return 1; }
  diff want.frames got.frames >difference || { echo "pictures differ:"; head -20 difference; return 1; }
}

# expect_same_media SOURCE OUT: all of that.
expect_same_media() {
  expect_same_packets "$1" "$2" || return 1
  expect_same_times "$1" "$2" || return 1
  if streams_of "$1" | grep -q v; then expect_same_pictures "$1" "$2" || return 1; fi
}
