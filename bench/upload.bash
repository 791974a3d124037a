# shellcheck shell=bash disable=SC2154 # what bench/run has set
# Part of bench/run: what goes to a server, against programs that send files, and beside a peer that means ill.

# What runs beside the server, and is ended with it; known to the trap of bench/run.
beside_pids=()

# upload_server: mc-serve on an empty store, on the same port each time; sets `url`.
upload_server() {
  stop_upload_server
  rm -rf "${disk_dir:?}/store" upload.ready
  mkfifo upload.ready
  mc-serve --quiet --listen "127.0.0.1:${upload_port:-0}" --store "file:$disk_dir/store" --notify-fd 9 9>upload.ready &
  upload_pid=$!
  server_pids=("$upload_pid" "${beside_pids[@]}")
  read -r url <upload.ready
  upload_port=${url##*:}
}
stop_upload_server() {
  [ -n "${upload_pid:-}" ] || return 0
  kill "$upload_pid"
  wait "$upload_pid" || true
  upload_pid=''
  server_pids=("${beside_pids[@]}")
}

# The receipt is forgotten, and so is the store.
afresh() {
  rm -f recording/receipt-*
  upload_server
}

afresh_both() {
  rm -rf "${disk_dir:?}/dav"/*
  afresh
}

# curl_list FILE: a request for each file of the recording, as mc-protocol(7) wants it.
curl_list() {
  local sha name id
  id=$(sed -n 's/^# recording \([0-9a-f]*\).*/\1/p' recording/manifest)
  while read -r sha name; do
    cat <<END
url = "$url/v1/recordings/bench/001/alice/$name"
upload-file = "recording/$name"
header = "Maycast-Recording: $id"
header = "Repr-Digest: sha-256=:$(xxd -r -p <<<"$sha" | base64):"
output = "/dev/null"
silent
show-error
fail
next
END
  done < <(grep -v '^#' recording/manifest) | sed '$d' >"$1"
}

bench_upload() {
  command -v rclone >/dev/null || { say "error: rclone is missing"; return 1; }
  make_recording
  on_disk
  local n files
  files=$(grep -vc '^#' recording/manifest)
  upload_server
  curl_list curl.conf
  for n in 1 4; do
    # With hashes, the manifest, the audit and the receipt on our side; curl sends the files and is told 201.
    versus wall "mc-push --quiet --parallel $n recording $url" \
      "curl $([ "$n" -eq 1 ] || echo "-Z --parallel-max $n") -K curl.conf" afresh
    seconds_row "upload: $files files x $n, until Synced / curl" ">= 0.9 (speed)" speed
  done
  # rclone's own server on the same disk: no digest, no flush.
  mkdir "$disk_dir/dav"
  rclone serve webdav --addr 127.0.0.1:18421 "$disk_dir/dav" 2>rclone.log &
  beside_pids=($!)
  server_pids+=("${beside_pids[@]}")
  until curl -s -o /dev/null http://127.0.0.1:18421/; do
    kill -0 "${beside_pids[0]}" || { cat rclone.log >&2; return 1; }
  done
  versus wall "mc-push --quiet --parallel 4 recording $url" \
    "RCLONE_WEBDAV_URL=http://127.0.0.1:18421 RCLONE_WEBDAV_VENDOR=other rclone -q --config '' --transfers 4 copy recording :webdav:\$\$" \
    afresh_both
  seconds_row "upload: $files files x 4, until Synced / rclone" "(speed; it flushes nothing)" speed
  kill "${beside_pids[0]}"
  wait "${beside_pids[0]}" 2>/dev/null || true
  beside_pids=()
  bench_bad_link "$files"
  stop_upload_server
}

# 40 ms of round trip, and three times every connection is reset.
bench_bad_link() {
  local proxy_url cuts again total took
  afresh
  total=$(cat recording/init_* recording/chunk_* recording/manifest | wc -c)
  rm -f proxy.ready
  mkfifo proxy.ready
  bench-chaos-proxy --delay 20 --cut-every "${MC_BENCH_CUT_MS:-2000}" --cuts 3 --notify-fd 9 "$url" 9>proxy.ready >proxy.counts &
  beside_pids=($!)
  server_pids+=("${beside_pids[@]}")
  read -r proxy_url <proxy.ready
  took=$(timed wall "mc-push --quiet recording $proxy_url")
  kill -TERM "${beside_pids[0]}"
  wait "${beside_pids[0]}" || true
  beside_pids=()
  cuts=$(sed -n 's/.*\bcut-all=\([0-9]*\).*/\1/p' proxy.counts)
  again=$(($(sed -n 's/.*\bbody-bytes-up=\([0-9]*\).*/\1/p' proxy.counts) - total))
  row "upload: $1 files, 40 ms round trip, ${cuts:-0} cuts: sent again" "$again B" "of $total" \
    "$(awk -v a="$again" -v t="$total" 'BEGIN { printf "%.3f %%", a / t * 100 }')" "< 0.1 % (took $took s)"
}

# From the end of mc-spool, whose last chunk and manifest are durable then, to the end of mc-push, whose receipt is.
bench_receipt() {
  local i begin end all=''
  make_input
  on_disk
  upload_server
  for ((i = 0; i < ${MC_BENCH_RECEIPTS:-9}; i++)); do
    rm -rf "$disk_dir/spool"
    mkdir "$disk_dir/spool"
    mc-push --quiet --follow "$disk_dir/spool/rec" "$url" &
    beside_pids=($!)
    server_pids=("$upload_pid" "${beside_pids[@]}")
    ffmpeg -nostdin -v error -re -i in.nut -t 3 -c copy -f nut - | mc-mux --quiet |
      mc-spool --quiet write --as "bench/001/guest-$i" "$disk_dir/spool/rec"
    begin=$EPOCHREALTIME
    wait "${beside_pids[0]}"
    end=$EPOCHREALTIME
    all+=$(awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.1f", (b - a) * 1000 }')$'\n'
  done
  beside_pids=()
  row "push: from the end of recording to Synced" "$(median <<<"${all%$'\n'}") ms" \
    "max $(sort -g <<<"${all%$'\n'}" | tail -1) ms" "" "< 50 ms"
  stop_upload_server
}

# An honest client on four connections, alone and beside slow and endless requests.
bench_hostile() {
  command -v slowhttptest >/dev/null || { say "error: slowhttptest is missing"; return 1; }
  local i alone='' beside=''
  on_disk
  upload_server
  for ((i = 0; i < runs; i++)); do
    alone+=$(bench-ingest-load 127.0.0.1 "$upload_port" maycast 4 3 100000 | cut -d' ' -f1,3 | tr ' ' ,)$'\n'
    slowhttptest -H -c 300 -r 300 -i 1 -l 6 -p 3 -u "$url/healthz" >slow.log 2>&1 &
    beside_pids=($!)
    slowhttptest -B -c 300 -r 300 -i 1 -l 6 -p 3 -s 100000 -t PUT -u "$url/v1/recordings/bench/001/mallory/chunk_000001.m4s" >slow.log 2>&1 &
    beside_pids+=($!)
    server_pids=("$upload_pid" "${beside_pids[@]}")
    beside+=$(bench-ingest-load 127.0.0.1 "$upload_port" maycast 4 3 100000 | cut -d' ' -f1,3 | tr ' ' ,)$'\n'
    wait "${beside_pids[@]}" || true
    beside_pids=()
  done
  ours=$(cut -d, -f1 <<<"${beside%$'\n'}" | median)
  peer=$(cut -d, -f1 <<<"${alone%$'\n'}" | median)
  row "serve: honest uploads beside 600 slow requests / alone" "$(printf '%.0f /s' "$ours")" "$(printf '%.0f /s' "$peer")" \
    "$(awk -v a="$ours" -v b="$peer" 'BEGIN { printf "%.2f", a / b }')" "(speed)"
  row "serve: p50 of PUT to 201 beside them / alone" "$(cut -d, -f2 <<<"${beside%$'\n'}" | median) ms" \
    "$(cut -d, -f2 <<<"${alone%$'\n'}" | median) ms" "" ""
  stop_upload_server
}
