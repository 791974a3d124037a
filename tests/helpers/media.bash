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

# probed FILE: a directory with what ffprobe and ffmpeg say of FILE, by one run of each, remembered as long as the file is
# the same: starting them is what takes the time. In it, for the first picture and sound stream (v, a):
#   streams     "v h264 1/90000": kind, codec, time base
#   times.v     the presentation time of each packet in seconds, in decode order
#   packets.v   size and hash of each packet, in decode order. Of H.264 and HEVC the slices as Annex B: where the parameter
#               sets stand, and access unit delimiters, are the container's business, and so are the ADTS headers of AAC.
#   frames      the hash of each decoded picture, in the order of showing
probed() {
  local key dir filters=() outputs=()
  key=$(stat -c '%i %s %y' "$1" | md5sum | cut -c1-32)
  dir=${BATS_TEST_TMPDIR:-/tmp}/.probed/$key
  if [ ! -e "$dir/done" ]; then
    mkdir -p "$dir"
    ffprobe -v error -show_entries stream=index,codec_name,codec_type,time_base:packet=stream_index,pts -of compact "$1" >"$dir/raw"
    awk -F'|' -v dir="$dir" '
      function value(key,  i) { for (i = 2; i <= NF; i++) if (index($i, key "=") == 1) return substr($i, length(key) + 2); return "" }
      NR == FNR && $1 == "stream" {
        kind = value("codec_type") == "video" ? "v" : value("codec_type") == "audio" ? "a" : ""
        if (kind == "" || kind in codec) next
        codec[kind] = value("codec_name"); base[kind] = value("time_base"); of[value("index")] = kind
        split(base[kind], b, "/"); unit[kind] = b[1] / b[2]
        next
      }
      NR != FNR && $1 == "packet" && (value("stream_index") in of) && value("pts") ~ /^-?[0-9]/ {
        kind = of[value("stream_index")]
        printf "%.9f\n", value("pts") * unit[kind] >(dir "/times." kind)
      }
      END {
        printf "" >(dir "/streams")
        if ("v" in codec) print "v", codec["v"], base["v"] >(dir "/streams")
        if ("a" in codec) print "a", codec["a"], base["a"] >(dir "/streams")
      }' "$dir/raw" "$dir/raw"
    if grep -q '^v h264 ' "$dir/streams"; then filters=(-bsf:v "h264_mp4toannexb,filter_units=remove_types=7|8|9"); fi
    if grep -q '^v hevc ' "$dir/streams"; then filters=(-bsf:v "hevc_mp4toannexb,filter_units=remove_types=32|33|34|35"); fi
    if grep -q '^a aac ' "$dir/streams"; then filters+=(-bsf:a aac_adtstoasc); fi
    if grep -q '^v ' "$dir/streams"; then outputs=(-map 0:v:0 -vsync passthrough -f framehash -y "$dir/frames.raw"); fi
    touch "$dir/frames.raw"
    ffmpeg -nostdin -v error -i "$1" -map 0:v:0? -map 0:a:0? -c copy "${filters[@]}" -copyts -f framehash -y "$dir/packets.raw" \
      "${outputs[@]}" || true
    awk -F', *' -v dir="$dir" '
      FNR == NR { kind[FNR - 1] = substr($0, 1, 1); next }
      !/^#/ { print $5, $6 >(dir "/packets." kind[$1 + 0]) }' "$dir/streams" "$dir/packets.raw"
    awk -F', *' '!/^#/ { print $6 }' "$dir/frames.raw" >"$dir/frames"
    touch "$dir"/{times,packets}.{v,a} "$dir/done"
  fi
  printf '%s\n' "$dir"
}

packet_hashes() { cat "$(probed "$1")/packets.$2"; } # FILE STREAM
packet_times() { cat "$(probed "$1")/times.$2"; }    # FILE STREAM
frame_hashes() { cat "$(probed "$1")/frames"; }      # FILE
codec_of() { awk -v kind="$2" '$1 == kind { print $2 }' "$(probed "$1")/streams"; } # FILE STREAM
streams_of() { cut -d' ' -f1,2 "$(probed "$1")/streams"; }

# expect_same_packets SOURCE OUT: the same packets in the same order, in each stream, and not one more or less.
expect_same_packets() {
  local stream
  [ -n "$(streams_of "$1")" ] || { echo "no streams in $1"; return 1; }
  [ "$(streams_of "$1")" = "$(streams_of "$2")" ] || { echo "other streams: $(streams_of "$2")"; return 1; }
  for stream in $(streams_of "$1" | cut -d' ' -f1); do
    packet_hashes "$1" "$stream" >"want.$stream"
    packet_hashes "$2" "$stream" >"got.$stream"
    [ -s "want.$stream" ] || { echo "no packets in $1"; return 1; }
    diff "want.$stream" "got.$stream" >difference || { echo "packets of $stream differ:"; head -20 difference; return 1; }
  done
}

# expect_same_times SOURCE OUT: each presentation time within one tick of the source, after one shift that is the same
# for all streams (a recording's time 0 is its first frame).
expect_same_times() {
  local stream codec tick shift=''
  while read -r stream codec tick; do
    packet_times "$1" "$stream" >"want.$stream"
    packet_times "$2" "$stream" >"got.$stream"
    # The first stream says how far the files are apart, the second must agree to the tick.
    [ -n "$shift" ] || shift=$(paste "want.$stream" "got.$stream" | awk 'NR == 1 { printf "%.9f", $1 - $2 }')
    paste "want.$stream" "got.$stream" | awk -v shift="$shift" -v base="$tick" -v stream="$stream, $codec" '
      BEGIN { split(base, b, "/"); tick = b[1] / b[2] }
      NF != 2 { printf "stream %s: not as many packets as before\n", stream; missing = 1; exit 1 }
      { d = $1 - $2 - shift; if (d < 0) d = -d; if (d > worst) { worst = d; at = NR } }
      END {
        if (missing) exit 1
        if (worst <= tick + 1e-7) exit 0
        printf "stream %s: packet %d is off by %.6f s, more than a tick of %.6f s\n", stream, at, worst, tick
        exit 1
      }' || return 1
  done <"$(probed "$1")/streams"
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
  if streams_of "$1" | grep -q '^v '; then expect_same_pictures "$1" "$2" || return 1; fi
}

# expect_playable FILE: every frame of it decodes, without a word from the decoder. ffprobe, because ffmpeg's own output side
# has words of its own about times beside a gap.
expect_playable() {
  local words code=0
  words=$(ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1" 2>&1) || code=$?
  [ "$code" -eq 0 ] && [ -n "$words" ] && ! grep -qvE '^[1-9][0-9]*,?$' <<<"$words" && return
  echo "$1 does not play: exit $code: $words"
  return 1
}

# Of a NUT stream or a file: the events in it, and a tag.
events_of() { mc-mux --quiet <"$1" | strings -n 10 | grep -o '{"event":.*}'; }
tag_of() { ffprobe -v quiet -show_entries "$2" -of default=nk=1:nw=1 "$1" | head -1; }

# behind_t0 NUT v|a: by how many seconds picture or sound begins behind T0; sound counts from behind 1024 samples of priming.
behind_t0() {
  local zero priming=0
  zero=$(date -u -d "$(tag_of "$1" format_tags=maycast-t0)" +%s.%N)
  [ "$2" = v ] || priming=1024
  awk -v zero="$zero" -v priming=$priming 'NR == 1 { printf "%.6f\n", $1 + priming / 48000 - zero; exit }' <(packet_times "$1" "$2")
}

# within VALUE FROM TO
within() { awk -v x="$1" -v from="$2" -v to="$3" 'BEGIN { exit !(x >= from && x <= to) }' || fail "$1 is not within $2 and $3"; }

# A screen for the capture that may go away under it; sets SCREEN and SCREEN_PID.
start_screen() {
  command -v Xvfb >/dev/null || skip "Xvfb is not installed"
  mkfifo display
  Xvfb -displayfd 7 -screen 0 320x240x24 7>display 2>/dev/null &
  SCREEN_PID=$!
  own_child $SCREEN_PID
  read -r SCREEN <display
  SCREEN=":$SCREEN"
}
