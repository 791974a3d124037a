#!/usr/bin/env bats
# Bad input to mc-mux, mc-spool and mc-capture (issue: first light, point 6): empty, random, truncated at 200 places, a byte
# flipped at 200. A clear error and the right exit code or whole frames, never a crash, never output that claims more than
# there is. The quick suite looks at some of the places, the long one at all.

load ../helpers/common
load ../helpers/spoilt

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2.2 \
    -c:v libx264 -preset ultrafast -g 25 -c:a aac -y av.mkv
  for format in nut mp4 mpegts; do ffmpeg -v error -i av.mkv -c copy -f $format -y av.$format; done
  ffmpeg -v error -i av.mkv -c copy -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.fmp4
  for format in mkv mp4; do ffmpeg -v error -i av.mkv -t 0.5 -c copy -y short.$format; done
  noise 1 >random
  : >empty
}

# record FILE WHAT: mc-mux and mc-spool on it. Whatever they make of it, neither dies by a signal, an error has its line, and
# what lies in the directory afterwards is a recording that verifies.
record() {
  rm -rf rec
  local codes code
  if mc-mux <"$1" 2>mux.err | mc-spool write rec 2>spool.err; then codes=("${PIPESTATUS[@]}"); else codes=("${PIPESTATUS[@]}"); fi
  for code in "${codes[@]}"; do
    case $code in
      0 | 1 | 65 | 66 | 69) ;;
      *) echo "$2: exit ${codes[*]}"; cat mux.err spool.err; return 1 ;;
    esac
  done
  [ "${codes[0]}" -eq 0 ] || grep -q '^mc-mux: error: ' mux.err || { echo "$2: no message"; return 1; }
  [ "${codes[1]}" -eq 0 ] || grep -Eq '^mc-spool: (error|warning): ' spool.err || { echo "$2: no message"; return 1; }
  if [ -e rec/manifest ]; then
    mc-verify rec >verify.out 2>&1 || { echo "$2: does not verify"; cat verify.out; return 1; }
  else
    [ "${codes[1]}" -ne 0 ] || { echo "$2: success without a recording"; return 1; }
  fi
}

@test "empty and random input to mc-mux and mc-spool" {
  expect_exit 66 mc-mux <"$BATS_FILE_TMPDIR/empty"
  assert_line --index 0 --partial "mc-mux: error: "
  expect_exit 65 mc-mux <"$BATS_FILE_TMPDIR/random"
  assert_line --index 0 --partial "mc-mux: error: "
  expect_exit 66 mc-spool write rec <"$BATS_FILE_TMPDIR/empty"
  expect_exit 65 mc-spool write rec <"$BATS_FILE_TMPDIR/random"
  [ ! -e rec/manifest ]
}

@test "NUT, cut and flipped" { sweep record 2 "$BATS_FILE_TMPDIR/av.nut"; }

# bats test_tags=long
@test "NUT, cut and flipped at 200 places" { sweep record 200 "$BATS_FILE_TMPDIR/av.nut"; }

# bats test_tags=long
@test "Matroska, MP4 and MPEG-TS, cut and flipped at 20 places each" {
  for name in av.mkv av.mp4 av.mpegts; do sweep record 20 "$BATS_FILE_TMPDIR/$name"; done
}

# spool FILE WHAT: mc-spool alone on fragmented MP4.
spool() {
  local code=0
  rm -rf rec
  mc-spool write rec <"$1" 2>err || code=$?
  is_one_of $code "0 1 65 66 69" "$2" && has_message $code mc-spool "$2" || return 1
  if [ -e rec/manifest ]; then
    mc-verify rec >verify.out 2>&1 || { echo "$2: does not verify"; cat verify.out; return 1; }
  else
    [ $code -ne 0 ] || { echo "$2: success without a recording"; return 1; }
  fi
}

@test "fragmented MP4, cut and flipped" { sweep spool 2 "$BATS_FILE_TMPDIR/av.fmp4"; }

# bats test_tags=long
@test "fragmented MP4, cut and flipped at 200 places" { sweep spool 200 "$BATS_FILE_TMPDIR/av.fmp4"; }

# capture FILE WHAT: as a camera. What comes of it is a whole stream with frames and its end, or an error and no end.
capture() {
  local code=0
  mc-capture --video "file:$1" --preset ultrafast --pace none >out.nut 2>err || code=$?
  is_one_of $code "0 65 66 69 74" "$2" && has_message $code mc-capture "$2" || return 1
  if [ $code -eq 0 ]; then
    mc-mux --quiet <out.nut >out.mp4 && grep -aq moof out.mp4 && grep -aq '{"event":"end"}' out.nut ||
      { echo "$2: exit 0 without a whole stream"; return 1; }
  elif grep -aq '{"event":"end"}' out.nut; then
    echo "$2: exit $code, and the end is said"
    return 1
  fi
}

@test "empty and random input to mc-capture" {
  for seed in 5 6 7; do noise $seed >random-$seed; done
  for name in "$BATS_FILE_TMPDIR/empty" random-*; do
    run mc-capture --video "file:$name" --pace none
    [ "$status" -eq 65 ] || [ "$status" -eq 66 ] || fail "$name: exit $status"
    assert_line --index 0 --partial "mc-capture: error: "
  done
}

@test "a file that mc-capture plays, cut and flipped" { sweep capture 2 "$BATS_FILE_TMPDIR/short.mkv"; }

# bats test_tags=long
@test "a file that mc-capture plays, cut and flipped at 200 places" {
  sweep capture 140 "$BATS_FILE_TMPDIR/short.mkv"
  sweep capture 60 "$BATS_FILE_TMPDIR/short.mp4"
}
