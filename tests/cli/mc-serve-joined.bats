# The joined file of a recording, from a server: curl gets what mc-join makes.
load ../helpers/common
load ../helpers/media

ROOM=studio-a/001/alice
JOINED=/v1/recordings/studio-a/001/alice

# Two sizes of picture, so that the recording has a second init, then sound alone, then picture alone.
setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  PATH="${MC_BIN:-$MC_SOURCE/build/bin}:$PATH"
  for size in 320x180 160x120; do
    ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=$size:rate=30 -f lavfi -i sine=sample_rate=48000 -t 2.5 \
      -c:v libx264 -preset ultrafast -g 30 -bf 0 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof \
      -f mp4 -y $size.mp4
  done
  cat 320x180.mp4 160x120.mp4 | mc-spool --quiet write spool/$ROOM
  [ -e spool/$ROOM/init_002.mp4 ]
  ffmpeg -nostdin -v error -i 320x180.mp4 -map 0:a -c copy -movflags empty_moov+default_base_moof -frag_duration 1000000 \
    -f mp4 - | mc-spool --quiet write spool/studio-a/001/sound
  ffmpeg -nostdin -v error -i 320x180.mp4 -map 0:v -c copy -movflags frag_keyframe+empty_moov+default_base_moof \
    -f mp4 - | mc-spool --quiet write spool/studio-a/001/picture
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  cp -r "$BATS_FILE_TMPDIR/spool" .
}

# get TARGET [curl options]: the status in STATUS, the body in `answer`, the header in `head`.
get() {
  local target=$1
  shift
  STATUS=$(curl -sS -D head -o answer -w '%{http_code}' "$@" "$SERVER_URL$target")
}
field() { sed -n "s/^$1: \(.*\)\r$/\1/Ip" head; }

@test "byte for byte what mc-join makes, with its length, a tag, and the sound alone" {
  start_server store
  mc-push --quiet spool "$SERVER_URL"
  for guest in alice sound picture; do
    mc-join --quiet spool/studio-a/001/$guest -o $guest.mp4
    get /v1/recordings/studio-a/001/$guest.mp4
    [ "$STATUS" = 200 ]
    cmp answer $guest.mp4
    [ "$(field content-length)" = "$(stat -c %s $guest.mp4)" ]
    [[ $(field etag) =~ ^\"[0-9a-f]{64}\"$ ]]
  done
  get $JOINED.mp4 -I
  [ "$STATUS" = 200 ]
  [ "$(field content-length)" = "$(stat -c %s alice.mp4)" ]
  [ "$(field content-type)" = video/mp4 ]

  get $JOINED.m4a
  [ "$STATUS" = 200 ]
  [ "$(field content-type)" = audio/mp4 ]
  mc-join --quiet --sound-only spool/$ROOM | cmp - answer
  [ "$(ffprobe -v error -show_entries stream=codec_type -of csv=p=0 answer)" = audio ]
  packets() { ffprobe -v error -select_streams a -show_entries packet=pts_time,size,data_hash -show_data_hash md5 -of csv "$1"; }
  diff <(packets answer) <(packets alice.mp4)
  get /v1/recordings/studio-a/001/sound.m4a
  cmp answer sound.mp4
  get /v1/recordings/studio-a/001/picture.m4a
  [ "$STATUS" = 404 ]
}

@test "ranges at odd places, a transfer that goes on, and one that need not begin" {
  start_server store
  mc-push --quiet spool/$ROOM "$SERVER_URL"
  mc-join --quiet spool/$ROOM -o whole.mp4
  size=$(stat -c %s whole.mp4)
  for range in 0-0 1-7 4095-4097 "$((size / 2))-$((size / 2 + 70000))" "$((size - 3))-" -5 "1-$((size * 2))"; do
    get $JOINED.mp4 -r "$range"
    [ "$STATUS" = 206 ]
    read -r first last < <(field content-range | sed -n "s,^bytes \([0-9]*\)-\([0-9]*\)/$size\$,\1 \2,p")
    cmp answer <(tail -c +$((first + 1)) whole.mp4 | head -c $((last - first + 1)))
  done
  get $JOINED.mp4 -r "$size-"
  [ "$STATUS" = 416 ]
  [ "$(field content-range)" = "bytes */$size" ]

  head -c $((size / 3)) whole.mp4 >part.mp4
  curl -sS -C - -o part.mp4 "$SERVER_URL$JOINED.mp4"
  cmp part.mp4 whole.mp4
  get $JOINED.mp4 -I
  tag=$(field etag)
  get $JOINED.mp4 -H "If-None-Match: $tag"
  [ "$STATUS" = 304 ]
  get $JOINED.mp4 -r 5-9 -H "If-Range: $tag"
  [ "$STATUS" = 206 ]
  get $JOINED.mp4 -r 5-9 -H 'If-Range: "another"'
  [ "$STATUS" = 200 ]
  # Another process gives the same file the same tag.
  kill "$SERVER_PID"
  wait "$SERVER_PID"
  start_server store
  get $JOINED.mp4 -H "If-None-Match: $tag"
  [ "$STATUS" = 304 ]
}

@test "what is not whole is no file: it is said which, and curl fails" {
  start_server store
  get $JOINED.mp4
  [ "$STATUS" = 404 ]
  mc-push --quiet spool/$ROOM "$SERVER_URL"
  cp store/$ROOM/chunk_000002.m4s good
  rm store/$ROOM/chunk_000001.m4s
  printf X | dd of=store/$ROOM/chunk_000002.m4s bs=1 seek=900 conv=notrunc status=none
  for extension in mp4 m4a; do
    get $JOINED.$extension
    [ "$STATUS" = 409 ]
    [ "$(jq -r .type answer)" = urn:maycast:problem:recording-damaged ]
    [ "$(jq -r .detail answer)" = 'chunk_000001.m4s is missing, chunk_000002.m4s is damaged' ]
  done
  run -22 curl -sS -f -o file.mp4 "$SERVER_URL$JOINED.mp4"
  [ ! -s file.mp4 ]
  mc-push --quiet spool/$ROOM "$SERVER_URL"
  get $JOINED.mp4
  mc-join --quiet spool/$ROOM | cmp - answer

  # Still open: there is more to come.
  sed -i '$d' spool/studio-a/001/sound/manifest
  mkdir -p store/studio-a/001
  cp -r spool/studio-a/001/sound store/studio-a/001/
  get /v1/recordings/studio-a/001/sound.mp4
  [ "$STATUS" = 409 ]
  [ "$(jq -r .type answer)" = urn:maycast:problem:recording-open ]
}

@test "with tokens: a director and a reader get it, a guest does not" {
  mc-serve --quiet secret secret
  start_server store --secret-file secret
  mint() { mc-serve token --secret-file secret "$@"; }
  mint --role guest --session studio-a --guest alice >guest
  mc-push --quiet --token-file guest spool/$ROOM "$SERVER_URL"
  get $JOINED.mp4
  [ "$STATUS" = 401 ]
  get $JOINED.mp4 -H "Authorization: Bearer $(cat guest)"
  [ "$STATUS" = 403 ]
  get $JOINED.mp4 -H "Authorization: Bearer $(mint --role director --session studio-b)"
  [ "$STATUS" = 403 ]
  for token in "$(mint --role director --session studio-a)" "$(mint --role reader)"; do
    get $JOINED.mp4 -H "Authorization: Bearer $token"
    [ "$STATUS" = 200 ]
    mc-join --quiet spool/$ROOM | cmp - answer
  done
}
