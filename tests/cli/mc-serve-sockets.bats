# A service manager opens the socket (sd_listen_fds(3)) and is told when the server is ready and when it stops.
load ../helpers/common

@test "a socket that is open already is listened on, and nothing else" {
  mkfifo events
  with_socket port mc-serve --json --store "file:$PWD/store" >events &
  own_child $!
  local line
  read -r line <events
  local url
  url="http://127.0.0.1:$(cat port)"
  assert_equal "$(jq -c .urls <<<"$line")" "[\"$url\"]"
  run -0 curl -sS -f "$url/healthz"
}

@test "beside it what --listen says" {
  mkfifo events
  with_socket port mc-serve --json --listen 127.0.0.1:0 --store "file:$PWD/store" >events &
  own_child $!
  local line
  read -r line <events
  assert_equal "$(jq '.urls | length' <<<"$line")" 2
  local url
  for url in $(jq -r '.urls[]' <<<"$line"); do curl -sS -f "$url/healthz"; done
}

@test "a descriptor that is no listening socket is a wrong configuration" {
  run -78 bash -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec mc-serve --store file:store 3</dev/null'
  assert_output --partial 'no TCP socket'
  run -78 bash -c 'LISTEN_FDS=40 LISTEN_PID=$$ exec mc-serve --store file:store 3</dev/null'
  assert_output --partial 'is not open'
}

@test "the manager is told when the server is ready and when it stops" {
  mkfifo heard
  notified notify >heard &
  own_child $!
  exec 8<heard
  local line
  read -r line <&8
  assert_equal "$line" listening
  NOTIFY_SOCKET=$PWD/notify mc-serve --quiet --listen 127.0.0.1:0 --store "file:$PWD/store" &
  local server=$!
  own_child "$server"
  read -r line <&8
  assert_equal "$line" READY=1
  kill -TERM "$server"
  wait "$server"
  read -r line <&8
  assert_equal "$line" STOPPING=1
}
