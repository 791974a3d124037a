#!/usr/bin/env bats
# A recording of 60 chunks through each fault of a network, alone, and through all of them mixed: Synced in the end, the
# stores equal bit for bit (never-lose L1, F2, F6, L11). MC_CHAOS_SEEDS=100 for more of the mixtures.
# label: long

load ../helpers/common
load ../helpers/net

ROOM=studio-a/001/alice

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_recording spool/$ROOM 60
}

# through TITLE [options of chaos_proxy]: PUSH_OPTIONS are mc-push's. The deadline is only a guard: the faults come by the
# clock, so a busy machine gets less through between two of them.
through() {
  local title=$1 code=0
  shift
  rm -rf spool store proxy.log push.log
  cp -r "$BATS_FILE_TMPDIR/spool" .
  start_server store
  start_proxy "$@"
  mc-push --json ${PUSH_OPTIONS:---deadline 600} spool/$ROOM "$PROXY_URL" >events 2>push.log || code=$?
  stop_proxy
  [ "$code" -eq 0 ] || { echo "$title: mc-push ended with $code"; tail -5 push.log proxy.counts; return 1; }
  [ -n "${ASTRAY_IS_FINE:-}" ] || expect_synced spool store $ROOM
  # What was set aside in the store would be bytes that came in wrong and were taken for right.
  [ -n "${ASTRAY_IS_FINE:-}" ] || [ -z "$(find store -name '.conflict-*' -o -name '.damaged-*')" ] || { find store; return 1; }
  # A flipped bit in a name or an id leads bytes to another place; what the receipt says is there all the same.
  (path=$(sed -n 's/^path //p' spool/$ROOM/receipt-*) && cd "store/$path" && sha256sum -c --strict --quiet manifest &&
    cmp manifest "$OLDPWD/spool/$ROOM/manifest")
  kill -TERM "$SERVER_PID"
  wait "$SERVER_PID"
  echo "$title: sent again $(sent_again spool/$ROOM); $(tr ' ' '\n' <proxy.counts | grep -E '^(did|cut|status)' | paste -sd' ')" >&3
}

@test "no fault: nothing is sent twice" {
  through "no fault"
  [[ $(sent_again spool/$ROOM) == "0 bytes"* ]]
}

@test "refused connections" { through refuse --fault refuse:30; [ "$(counted did-refuse)" -gt 5 ]; }
@test "cut inside the request, at each kind of boundary" { through cut-up --fault cut-up:30; [ "$(counted did-cut-up)" -gt 5 ]; }
@test "cut inside the answer" { through cut-down --fault cut-down:30; [ "$(counted did-cut-down)" -gt 5 ]; }
@test "answers dropped after the server acted" { through drop --fault drop:30; [ "$(counted did-drop)" -gt 5 ]; }
@test "stalls" { through stall --fault stall:20:300; [ "$(counted did-stall)" -gt 5 ]; }
@test "a delay of 20 ms each way" { through delay --delay 20; }
@test "a bandwidth of 400 kB/s" { through rate --rate 400000; }
@test "requests that arrive twice" { through twice --fault twice:40; [ "$(counted did-twice)" -gt 5 ]; }
@test "requests that overtake each other" { through late --fault late:40; [ "$(counted did-late)" -gt 5 ]; }
@test "a flipped bit in a body" { through corrupt --fault corrupt:20; [ "$(counted did-corrupt)" -gt 5 ]; }
@test "a flipped bit in a request, its head included" {
  ASTRAY_IS_FINE=yes through garble --fault garble:15
  [ "$(counted did-garble)" -gt 3 ]
}
@test "a flipped bit in an answer" { through twist --fault twist:10; [ "$(counted did-twist)" -gt 2 ]; }
@test "all connections are reset every 100 ms" { through cut-every --rate 400000 --cut-every 100; [ "$(counted cut-all)" -gt 5 ]; }

# big_recording DIR: one chunk of about 1 MB.
big_recording() {
  ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=640x360:rate=10,noise=alls=60:allf=t" -t 1 -c:v libx264 -preset ultrafast -g 10 \
    -bf 0 -qp 30 -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 - | mc-spool --quiet write "$1"
}

@test "a link that is cut every 2 s and carries 100 kB/s: a chunk of 1 MB gets through" {
  big_recording spool/$ROOM
  size=$(stat -c %s spool/$ROOM/chunk_000001.m4s)
  [ "$size" -gt 900000 ]
  start_server store
  start_proxy --rate 100000 --cut-every 2000
  mc-push --deadline 60 spool/$ROOM "$PROXY_URL" 2>push.log
  stop_proxy
  expect_synced spool store $ROOM
  [ "$(counted cut-all)" -ge 4 ]
  [ "$(counted status-204)" -ge 3 ] # it was asked how far it had got
  echo "1 MB through 100 kB/s, cut every 2 s: sent again $(sent_again spool/$ROOM); $(cat proxy.counts)" >&3
  # At most what lay in the proxy at each cut comes again.
  [ $(($(counted body-bytes-up) - size)) -lt $((60000 * $(counted cut-all))) ]
}

@test "mixed at random" {
  for seed in $(seq 1 "${MC_CHAOS_SEEDS:-20}"); do
    through "seed $seed" --seed "$seed" --cut-every 150:50 --delay 1 --fault refuse:3 --fault cut-up:5 --fault cut-down:5 --fault drop:5 \
      --fault stall:3:100 --fault twice:5 --fault late:5 --fault corrupt:3
  done
}
