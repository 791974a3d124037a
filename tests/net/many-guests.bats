# Guests that all upload at once, each a chunk a second over its own connection: no error, every file there and right. The
# figures are `bench/run guests`.
load ../helpers/common

@test "20 guests for 5 seconds" {
  start_server store
  guests_load --guests 20 --seconds 5 --server-pid "$SERVER_PID" "$SERVER_URL" >figures
  grep -q ' puts=100 errors=0 ' figures
  [ "$(find store/load -name 'chunk_*' -size 100000c | wc -l)" -eq 100 ]
  # The same chunk of all guests has the same bytes; five different ones.
  [ "$(find store/load -name 'chunk_*' -exec sha256sum {} + | awk '{ print $1 " " substr($2, length($2) - 9) }' | sort -u | wc -l)" -eq 5 ]
}
