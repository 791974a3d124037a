#!/usr/bin/env bats
# Bad recordings to mc-verify, mc-join and mc-push, and bad requests to mc-serve (issue: first light, point 6): truncated at
# 200 places, a byte flipped at 200. A clear error and the right exit code, never a crash, never output that claims more than
# there is. The quick suite looks at some of the places, the long one at all.

load ../helpers/common
load ../helpers/spoilt

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  ffmpeg -v error -f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2.2 \
    -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 -y av.fmp4
  mc-spool --quiet write studio/001/alice <av.fmp4
  mc-join --quiet studio/001/alice -o whole.mp4
  ffprobe -v error -show_entries packet=stream_index,pts,size -of csv whole.mp4 >whole.packets
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
