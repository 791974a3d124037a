#!/usr/bin/env bats
# Bad input to each tool (issue: first light, point 6): empty, random, truncated at 200 places, a byte flipped at 200. A clear
# error and the right exit code or whole frames, never a crash, never output that claims more than there is. The quick suite
# looks at some of the places, the long one at all.

load ../helpers/common

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2.2 \
    -c:v libx264 -preset ultrafast -g 25 -c:a aac -y av.mkv
  for format in nut mp4 mpegts; do ffmpeg -v error -i av.mkv -c copy -f $format -y av.$format; done
  ffmpeg -v error -i av.mkv -c copy -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.fmp4
  for format in mkv mp4; do ffmpeg -v error -i av.mkv -t 0.5 -c copy -y short.$format; done
  noise 1 >random
  : >empty
  mc-spool --quiet write studio/001/alice <av.fmp4
  mc-join --quiet studio/001/alice -o whole.mp4
  ffprobe -v error -show_entries packet=stream_index,pts,size -of csv whole.mp4 >whole.packets
}

# noise SEED: 20,000 bytes of no meaning, the same in each run. Of 60 seeds, libavformat takes that of 7 for a file that it
# then cannot open.
noise() { openssl enc -aes-128-ctr -nosalt -pbkdf2 -pass "pass:$1" -in /dev/zero 2>"$BATS_FILE_TMPDIR/openssl.err" | head -c 20000; }

# flipped FILE OFFSET >OUT: FILE with half of the bits at OFFSET turned over.
flipped() {
  local byte
  byte=$(xxd -s "$2" -l 1 -p "$1")
  head -c "$2" "$1"
  printf '%b' "\\x$(printf %02x $((0x$byte ^ 0x55)))"
  tail -c +$(($2 + 2)) "$1"
}

# places SIZE N: N offsets below SIZE, the same in each run: every other one in the first tenth, where the headers are.
places() {
  awk -v size="$1" -v n="$2" 'BEGIN { srand(4711); for (i = 1; i <= n; i++) print int(rand() * (i % 2 ? size : size / 10)) }'
}

# sweep COMMAND N FILE: COMMAND cut at N places of FILE, and COMMAND flipped likewise; COMMAND BAD WHAT judges.
sweep() {
  local command=$1 file=$3 at
  while read -r at; do
    head -c "$at" "$file" >bad
    "$command" bad "${file##*/} cut at $at" || return 1
    flipped "$file" "$at" >bad
    "$command" bad "${file##*/} flipped at $at" || return 1
  done < <(places "$(stat -c %s "$file")" "$2")
}

# sweep_recording COMMAND N: COMMAND BAD-DIRECTORY NAME cut|flipped WHAT, with one file of the recording spoilt at a time.
sweep_recording() {
  local command=$1 good=$BATS_FILE_TMPDIR/studio/001/alice file name at names
  mkdir -p studio/001 && cp -r "$good" studio/001
  names=(manifest init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s)
  for name in "${names[@]}"; do
    file=$good/$name
    while read -r at; do
      head -c "$at" "$file" >studio/001/alice/$name
      "$command" studio/001/alice $name cut "$name cut at $at" || return 1
      flipped "$file" "$at" >studio/001/alice/$name
      "$command" studio/001/alice $name flipped "$name flipped at $at" || return 1
    done < <(places "$(stat -c %s "$file")" $(($2 / ${#names[@]})))
    cp "$file" studio/001/alice
  done
}

# is_one_of CODE CODES WHAT: what it ended with is an answer and no crash.
is_one_of() { [[ " $2 " == *" $1 "* ]] || { echo "$3: exit $1"; cat err; return 1; }; }
has_message() { [ "$1" -eq 0 ] || grep -Eq "^$2: (error|warning): " err || { echo "$3: exit $1 without a message"; return 1; }; }

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

# A manifest that was cut is a recording that is still open, as after a crash, or none. Everything else is damage.
verify() {
  local code=0
  mc-verify "$1" >out 2>err || code=$?
  if [ "$2 $3" = "manifest cut" ]; then
    is_one_of $code "0 1 65 66" "$4" && ! grep -q ': closed' out || { echo "$4: closed"; return 1; }
  else
    is_one_of $code 1 "$4" && grep -q "^$2: " out || { echo "$4: not named: $(cat out)"; return 1; }
  fi
}

@test "mc-verify on a recording, cut and flipped" { sweep_recording verify 5; }

# bats test_tags=long
@test "mc-verify on a recording, cut and flipped at 200 places" { sweep_recording verify 200; }

# What mc-join makes of an open recording is the beginning of the whole.
join() {
  local code=0
  rm -f out.mp4
  mc-join "$1" -o out.mp4 >out 2>err || code=$?
  if [ "$2 $3" = "manifest cut" ] && [ $code -eq 0 ]; then
    ffprobe -v error -show_entries packet=stream_index,pts,size -of csv out.mp4 >packets
    [ -z "$(sort packets | comm -23 - <(sort "$BATS_FILE_TMPDIR/whole.packets"))" ] || { echo "$4: other packets"; return 1; }
    return
  fi
  is_one_of $code "65 66" "$4" && has_message $code mc-join "$4" || return 1
  [ ! -e out.mp4 ] || { echo "$4: there is a file"; return 1; }
}

@test "mc-join on a recording, cut and flipped" { sweep_recording join 5; }

# bats test_tags=long
@test "mc-join on a recording, cut and flipped at 200 places" { sweep_recording join 200; }

# To a server that holds nothing yet: where all is there already, damage here is no reason against a receipt.
push() {
  local code=0
  rm -rf store
  start_server "$PWD/store"
  mc-push "$1" "$SERVER_URL" >out 2>err || code=$?
  is_one_of $code "1 65 66 69" "$4" && has_message $code mc-push "$4" || return 1
  ! compgen -G "$1/receipt-*" || { echo "$4: a receipt"; return 1; }
  kill "$SERVER_PID" && wait "$SERVER_PID" || { echo "$4: the server ended with $?"; return 1; }
}

# What was refused is not in the way of the whole recording.
push_recording() {
  sweep_recording push "$1"
  start_server "$PWD/store"
  rm -rf studio && cp -r "$BATS_FILE_TMPDIR/studio" .
  mc-push --quiet studio/001/alice "$SERVER_URL"
  diff -r -x '.*' studio/001/alice store/studio/001/alice
}

@test "mc-push of a recording, cut and flipped" { push_recording 5; }

# bats test_tags=long
@test "mc-push of a recording, cut and flipped at 200 places" { push_recording 200; }

# A request, as bytes. Whatever the server makes of it: what it publishes is what the digest said.
request() {
  raw_http --half-close "${SERVER_URL##*:}" <"$1" >answer || { echo "$2: raw_http: $?"; return 1; }
  kill -0 "$SERVER_PID" || { echo "$2: the server is gone"; return 1; }
}

serve_requests() {
  local body=$BATS_FILE_TMPDIR/studio/001/alice/init_001.mp4
  start_server "$PWD/store"
  {
    printf 'PUT /v1/recordings/studio/001/alice/init_001.mp4 HTTP/1.1\r\nHost: x\r\n'
    printf 'Maycast-Recording: 0123456789abcdef0123456789abcdef\r\n'
    printf 'Repr-Digest: sha-256=:%s:\r\n' "$(openssl dgst -sha256 -binary "$body" | base64)"
    printf 'Content-Length: %s\r\n\r\n' "$(stat -c %s "$body")"
    cat "$body"
  } >request
  sweep request "$1" request
  while IFS= read -r -d '' name; do cmp "$body" "$name"; done \
    < <(find store -type f -not -path '*/.*' -not -path store/key.pem -print0)
  # A flipped digit of the id may have taken the name for another recording: the whole one comes under a name of its own.
  LC_ALL=C sed '1s|001/alice|001/carol|' request >whole
  request whole whole
  grep -aq '^HTTP/1.1 20[01]' answer
}

@test "requests to mc-serve, cut and flipped" { serve_requests 4; }

# bats test_tags=long
@test "requests to mc-serve, cut and flipped at 200 places" { serve_requests 200; }

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
