#!/usr/bin/env bats
# Bad input to each tool (issue: first light, point 6): empty, random, truncated at 200 places, bytes flipped. A clear
# error and the right exit code or whole frames, never a crash, never output that claims more than there is.
# label: long

load ../helpers/common

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2.2 \
    -c:v libx264 -preset ultrafast -g 25 -c:a aac -y av.mkv
  for format in nut mp4 mpegts; do ffmpeg -v error -i av.mkv -c copy -f $format -y av.$format; done
  ffmpeg -v error -i av.mkv -c copy -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.fmp4
  head -c 20000 /dev/urandom >random
  : >empty
}

# flipped FILE OFFSET >OUT: FILE with bit 0 of each bit pattern at OFFSET turned over.
flipped() {
  local byte
  byte=$(xxd -s "$2" -l 1 -p "$1")
  head -c "$2" "$1"
  printf '%b' "\\x$(printf %02x $((0x$byte ^ 0x55)))"
  tail -c +$(($2 + 2)) "$1"
}

# record FILE: mc-mux and mc-spool on it. Whatever they make of it, neither dies by a signal, an error has its line, and
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

@test "NUT truncated at 200 places" {
  local file=$BATS_FILE_TMPDIR/av.nut size i
  size=$(stat -c %s "$file")
  for i in $(seq 1 200); do
    head -c $((size * i / 201)) "$file" >cut
    record cut "cut at $((size * i / 201))"
  done
}

@test "NUT with a byte flipped at 200 places" {
  local file=$BATS_FILE_TMPDIR/av.nut size i
  size=$(stat -c %s "$file")
  for i in $(seq 1 200); do
    # The first half lies in the headers, the rest all over the file.
    if [ "$i" -le 100 ]; then at=$((i * 5)); else at=$((size * (i - 100) / 101)); fi
    flipped "$file" "$at" >flipped
    record flipped "flipped at $at"
  done
}

@test "Matroska, MP4 and MPEG-TS truncated and flipped at 20 places each" {
  local name file size i
  for name in av.mkv av.mp4 av.mpegts; do
    file=$BATS_FILE_TMPDIR/$name
    size=$(stat -c %s "$file")
    for i in $(seq 1 20); do
      head -c $((size * i / 21)) "$file" >cut
      record cut "$name cut at $((size * i / 21))"
      flipped "$file" $((size * i / 21)) >flipped
      record flipped "$name flipped at $((size * i / 21))"
    done
  done
}

@test "fragmented MP4 with a byte flipped at 200 places" {
  local file=$BATS_FILE_TMPDIR/av.fmp4 size i at
  size=$(stat -c %s "$file")
  for i in $(seq 1 200); do
    if [ "$i" -le 100 ]; then at=$((i * 13)); else at=$((size * (i - 100) / 101)); fi
    flipped "$file" "$at" >flipped
    rm -rf rec
    run mc-spool write rec <flipped
    case $status in 0 | 1 | 65 | 69) ;; *) echo "flipped at $at: exit $status: $output"; false ;; esac
    [ "$status" -eq 0 ] || assert_line --regexp '^mc-spool: (error|warning): '
    if [ -e rec/manifest ]; then
      mc-verify rec >verify.out 2>&1 || { echo "flipped at $at"; cat verify.out; false; }
    else
      [ "$status" -ne 0 ]
    fi
  done
}

@test "a damaged recording: join and push refuse it by name and touch nothing; verify names it" {
  mc-spool --quiet write good <"$BATS_FILE_TMPDIR/av.fmp4"
  for name in init_001.mp4 chunk_000002.m4s; do
    for how in flip cut grow remove empty; do
      rm -rf bad out.mp4
      cp -r good bad
      case $how in
        flip) flipped good/$name 100 >bad/$name ;;
        cut) head -c 200 good/$name >bad/$name ;;
        grow) echo >>bad/$name ;;
        remove) rm bad/$name ;;
        empty) : >bad/$name ;;
      esac
      cp -r bad before
      expect_exit 1 mc-verify bad
      assert_output --partial "$name"
      expect_exit 65 mc-join bad -o out.mp4
      assert_output --partial "$name"
      [ ! -e out.mp4 ]
      diff -r before bad
      rm -rf before
    done
  done
  expect_exit 66 mc-join nowhere -o out.mp4
  expect_exit 66 mc-verify nowhere
  mkdir none
  expect_exit 66 mc-verify none
  expect_exit 66 mc-join none -o out.mp4
}

@test "mc-push does not upload what is not what the manifest says" {
  start_server "$PWD/store"
  mc-spool --quiet write studio/001/alice <"$BATS_FILE_TMPDIR/av.fmp4"
  flipped studio/001/alice/chunk_000002.m4s 100 >x
  mv x studio/001/alice/chunk_000002.m4s
  expect_exit 65 mc-push studio/001/alice "$SERVER_URL"
  assert_output --partial chunk_000002.m4s
  [ ! -e store/studio/001/alice/chunk_000002.m4s ]
  run ls studio/001/alice
  refute_output --partial receipt-
}

@test "mc-serve: garbage instead of HTTP is refused and an honest upload goes on" {
  start_server "$PWD/store"
  local host=${SERVER_URL#http://} i
  for i in 1 2 3 4 5; do
    exec 7<>"/dev/tcp/${host%:*}/${host##*:}"
    head -c 2000 /dev/urandom >&7 || true
    cat <&7 >answer || true
    exec 7>&-
  done
  mc-spool --quiet write studio/001/alice <"$BATS_FILE_TMPDIR/av.fmp4"
  mc-push --quiet studio/001/alice "$SERVER_URL"
}
