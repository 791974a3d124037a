# A short recording through a bad network; the long form, each fault alone and many seeds, is net/chaos.
load ../helpers/common
load ../helpers/net

@test "ten chunks through cuts, dropped answers, doubled and late requests" {
  make_recording spool/studio-a/001/alice 10
  start_server store
  start_proxy --seed 7 --fault refuse:5 --fault cut-up:15 --fault cut-down:10 --fault drop:15 --fault twice:10 --fault late:5 --fault corrupt:10
  mc-push --quiet --deadline 60 spool/studio-a/001/alice "$PROXY_URL"
  stop_proxy
  [[ $(cat proxy.counts) == *did-* ]]
  expect_synced spool store studio-a/001/alice
}
