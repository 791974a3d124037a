#!/usr/bin/env bats
# A disk that forgets, at a power cut, every byte and every name that was not synced; one that hangs; one that is pulled
# (never-lose L19, L10, L22). The disk is a FUSE file system: without /dev/fuse this fails, it does not skip.
# label: long

load ../helpers/common
load ../helpers/crash
load ../helpers/media

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_input short.fmp4 3 5
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  INPUT=$BATS_FILE_TMPDIR/short.fmp4
}

teardown() {
  unmount_all
  stop_children
}

# cut_at N: the power goes in front of the N-th change or flush; when it is back, what was acknowledged is there.
cut_at() {
  local round=$MOUNT/cut-$1
  mkdir -p "cut-$1"
  echo "crash-after $1" >"$MOUNT/.forgetful"
  timeout 60 frame_feeder "$INPUT" "cut-$1/acks" env "LD_PRELOAD=$PRELOAD" mc-spool --quiet write "$round/rec" --events 5 \
    >"cut-$1/ended" 2>"cut-$1/words"
  echo crash >"$MOUNT/.forgetful"
  echo revive >"$MOUNT/.forgetful"
  ln -s "$PWD/$round/rec" "cut-$1/rec"
  judged "cut-$1"
}

# cuts FIRST STEP LAST: on a disk of its own.
cuts() {
  local n
  CHILDREN=()
  MOUNT=disk-$1
  mount_forgetful "$MOUNT" || return 1
  for ((n = $1; n <= $3; n += $2)); do cut_at "$n" || return 1; done
}

# Whoever made the directory need not have synced it.
@test "a directory that was made before and not synced" {
  PRELOAD=
  CHILDREN=()
  mount_forgetful before
  mkdir -p before/s/001/rec
  echo "crash-after 1000000" >before/.forgetful
  timeout 60 frame_feeder "$INPUT" acks mc-spool --quiet write before/s/001/rec --events 5 >ended 2>words
  echo crash >before/.forgetful
  echo revive >before/.forgetful
  mc-verify before/s/001/rec
  mkdir -p before/t/001
  mkdir before/t/001/rec
  (cd before/t/001 && exec mc-spool --quiet write rec <"$INPUT")
  echo crash >before/.forgetful
  echo revive >before/.forgetful
  mc-verify before/t/001/rec
}

@test "the power goes in front of each change and each flush" {
  PRELOAD=
  # How many there are: a cut behind all of them leaves a closed recording.
  mount_forgetful disk
  echo "crash-after 1000000" >disk/.forgetful
  strace -f -o calls mc-spool --quiet write disk/s/001/rec <"$INPUT"
  total=$(grep -cE '(write|fsync|fdatasync|rename|unlink|mkdir|mknod|bind|ftruncate)\(' calls)
  cuts 1 2 "$total" &
  other=$!
  cuts 2 2 "$total" || { kill $other; false; }
  wait $other
  [ "$(wc -l <verdicts)" -eq "$total" ]
  echo "power cuts in front of each of $total changes and flushes: nothing acknowledged is lost" >&3
}

# found KIND: fsync of KIND left out is noticed at one of the cuts.
found() {
  local -x MC_NO_SYNC=$1
  PRELOAD=$MC_HELPERS/no_sync.so
  ! cuts 20 7 160 >words || { echo "without fsync of $1 nothing was found"; return 1; }
  tail -n 2 words >&3
}

@test "planted: no fsync of files is found" { found files; }

@test "planted: no fsync of directories is found" { found directories; }

@test "a disk that hangs for 10 s loses no frame" {
  mount_forgetful disk
  mkfifo events nut fmp4
  mc-spool --quiet write disk/s/001/rec --events 5 <fmp4 5>events 3>&- &
  spool=$!
  own_child $spool
  mc-mux --quiet <nut >fmp4 3>&- &
  own_child $!
  mc-capture --quiet --video lavfi:testsrc2=size=320x180:rate=30 --audio lavfi:sine=sample_rate=48000 --duration 14 >nut 3>&- &
  capture=$!
  own_child $capture
  cat events >acks 3>&- &
  own_child $!
  await_lines 60 acks
  kill -STOP "$DISK"
  read -r -t 10 _ <> <(:) || true
  kill -CONT "$DISK"
  wait $capture
  wait $spool
  mc-verify disk/s/001/rec
  run grep -c "^# gap" disk/s/001/rec/manifest
  assert_output 0
  [ "$(mc-verify --json disk/s/001/rec | jq .video_frames)" -eq 420 ]
}

@test "a disk that is pulled: exit 74, a clear line, and the pipeline ends" {
  mount_forgetful disk
  mkfifo nut
  mc-capture --quiet --video lavfi:testsrc2=size=320x180:rate=30 --duration 60 >nut 3>&- &
  capture=$!
  own_child $capture
  (mc-mux --quiet <nut | mc-spool --quiet write disk/s/001/rec --events 5 5>acks 2>words || echo "${PIPESTATUS[1]}" >code) 3>&- &
  pipe=$!
  own_child $pipe
  await_lines 30 acks
  kill -KILL "$DISK"
  wait $pipe
  wait $capture || true
  grep -qx 74 code || { cat code words; false; }
  grep -q "^mc-spool: error: .*disk/s/001/rec" words
  grep -q "^hint:" words
}

@test "a disk that is pulled and put back holds every frame that was acknowledged" {
  mount_forgetful disk
  mkfifo nut
  mc-capture --quiet --video lavfi:testsrc2=size=320x180:rate=30 --duration 60 >nut 3>&- &
  capture=$!
  own_child $capture
  (mc-mux --quiet <nut | tee in.fmp4 | mc-spool --quiet write disk/s/001/rec --events 5 5>acks 2>words || echo "${PIPESTATUS[2]}" >code) 3>&- &
  pipe=$!
  own_child $pipe
  await_lines 75 acks
  echo crash >disk/.forgetful
  wait $pipe
  wait $capture || true
  echo revive >disk/.forgetful
  grep -qx 74 code || { cat code words; false; }
  ln -s "$PWD/disk/s/001" round
  frame_oracle --recover round/rec in.fmp4 acks >&3
}
