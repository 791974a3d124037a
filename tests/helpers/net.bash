# For tests of a bad network: a recording, the proxy that breaks things, and what must be true in the end. Loaded behind
# common.

# make_recording DIR SECONDS: closed, a chunk of about 20 kB for each second.
make_recording() {
  ffmpeg -nostdin -v error -f lavfi -i "testsrc2=size=160x120:rate=10,noise=alls=8:allf=t" -f lavfi \
    -i sine=frequency=440:sample_rate=48000 -t "$2" -c:v libx264 -preset ultrafast -g 10 -bf 0 -b:v 115k -maxrate 130k \
    -bufsize 130k -c:a aac -b:a 32k -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 - | mc-spool --quiet write "$1"
}

# start_proxy [options of chaos_proxy]: in front of SERVER_URL; sets PROXY_PID and PROXY_URL.
start_proxy() {
  local ready="$BATS_TEST_TMPDIR/proxy.$RANDOM$RANDOM"
  mkfifo "$ready"
  chaos_proxy --notify-fd 9 "$@" "$SERVER_URL" 9>"$ready" >proxy.counts 2>>proxy.log 3>&- &
  PROXY_PID=$!
  own_child "$PROXY_PID"
  read -r PROXY_URL <"$ready" || { cat proxy.log >&2; return 1; }
  rm -f "$ready"
}

# stop_proxy: its counts are in proxy.counts.
stop_proxy() {
  kill -TERM "$PROXY_PID"
  wait "$PROXY_PID"
}

# counted NAME: how often the proxy did it.
counted() { sed -n "s/.*\b$1=\([0-9]*\) .*/\1/p" proxy.counts | grep . || echo 0; }

# expect_synced SPOOL STORE PATH: Synced in the guest's hands, and the store is the spool, bit for bit.
expect_synced() {
  ls "$1/$3"/receipt-* >/dev/null &&
    diff -r -x '.*' "$1/$3" "$2/$3" &&
    (cd "$2/$3" && sha256sum -c --strict --quiet manifest) &&
    mc-verify --quiet "$1/$3" "$SERVER_URL"
}

# sent_again DIR: of the bodies that the client sent, what the recording's files do not account for, as "N bytes (P %)".
# What lay in the proxy when a connection was cut is among them: up to a piece of 16 KiB each time.
sent_again() {
  local size
  size=$(cat "$1"/manifest "$1"/init_* "$1"/chunk_* | wc -c)
  awk -v up="$(counted body-bytes-up)" -v size="$size" 'BEGIN { printf "%d bytes (%.2f %%)", up - size, (up - size) * 100 / size }'
}
