# A service manager opens the socket (sd_listen_fds(3)) and is told when the server is ready and when it stops.
load ../helpers/common

# inherited PROGRAM...: run with a listening socket as descriptor 3; its port is in `port`, the program's pid in `pid`.
inherited() {
  cat >listener.js <<'END'
const net = require('net'), fs = require('fs'), { spawn } = require('child_process');
const server = net.createServer().listen(0, '127.0.0.1', () => {
  fs.writeFileSync('port.new', String(server.address().port));
  fs.renameSync('port.new', 'port');
  const child = spawn('sh', ['-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', 'sh', ...process.argv.slice(2)],
    { stdio: ['ignore', 'inherit', 'inherit', server] });
  fs.writeFileSync('pid', String(child.pid));
  child.on('exit', (code, signal) => process.exit(signal ? 128 : code));
  server.unref();
});
END
  node listener.js "$@"
}

@test "a socket that is open already is listened on, and nothing else" {
  mkfifo events
  inherited mc-serve --json --store "file:$PWD/store" >events &
  own_child $!
  local line
  read -r line <events
  own_child "$(cat pid)"
  local url
  url="http://127.0.0.1:$(cat port)"
  assert_equal "$(jq -c .urls <<<"$line")" "[\"$url\"]"
  run -0 curl -sS -f "$url/healthz"
}

@test "beside it what --listen says" {
  mkfifo events
  inherited mc-serve --json --listen 127.0.0.1:0 --store "file:$PWD/store" >events &
  own_child $!
  local line
  read -r line <events
  own_child "$(cat pid)"
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
