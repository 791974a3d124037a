#!/usr/bin/env bats
# Each system call of mc-spool that touches a file fails once, with EIO, ENOSPC and EINTR, and each write is short once:
# what was acknowledged is there, and mc-spool ends by itself, with a code that says what happened (never-lose L19, L22).
# label: long

load ../helpers/common
load ../helpers/crash

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  make_input short.fmp4 2 5
  # The calls of an undisturbed run, each with its number among those of its name and thread.
  strace -f -o calls mc-spool --quiet write rec <short.fmp4
  local ours='/execve|arch_prctl|mmap|munmap|mprotect|brk|futex|rt_sig|exit|clone|set_|rseq|prlimit|poll|getpid|madvise|fcntl|<|\+\+\+|SIG/d'
  awk '{ print $1, $2 }' calls | sed -E "$ours; s/\(.*//" | sort | uniq -c | awk '{ if ($1 > most[$3]) most[$3] = $1 } END { for (name in most) print name, most[name] }' |
    sort >most
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  CHILDREN=()
  INPUT=$BATS_FILE_TMPDIR/short.fmp4
}

# every_call: NAME:NUMBER of each.
every_call() {
  local name most i
  while read -r name most; do
    for ((i = 1; i <= most; i++)); do echo "$name:$i"; done
  done <"$BATS_FILE_TMPDIR/most"
}

# The loader's own calls fail here as well: 127.
failed_once() {
  local round=${1/:/-} code
  fed "$round" strace -f -qq -o /dev/null -e "trace=${1%:*}" -e "inject=${1%:*}:error=$ERROR:when=${1#*:}" \
    mc-spool --quiet write "$round/rec" --events 5 >/dev/null || return 1
  code=$(sed -n 's/.*ended=//p' "$round/ended")
  case $code in
    0 | 66 | 73 | 74 | 75 | 77 | 127) ;;
    *)
      echo "$1 with $ERROR: exit $code: $(cat "$round/words")"
      return 1
      ;;
  esac
  if [ "$code" -eq 0 ]; then judged "$round" --entered-all --max-lost 0; else judged "$round"; fi || { echo "$1 with $ERROR"; return 1; }
}

# every_failure ERROR: all of it, and the table of exit codes.
every_failure() {
  ERROR=$1
  local calls
  mapfile -t calls < <(every_call)
  [ "${#calls[@]}" -gt 100 ]
  two_at_a_time failed_once "${calls[@]}"
  [ "$(wc -l <verdicts)" -eq "${#calls[@]}" ]
  echo "$ERROR at each of ${#calls[@]} calls, exit codes: $(sed 's/.*ended=\([0-9]*\).*/\1/' verdicts | sort -n | uniq -c | awk '{ printf "%s %d times, ", $2, $1 }')" >&3
}

@test "EIO at each call" { every_failure EIO; }

@test "ENOSPC at each call" { every_failure ENOSPC; }

@test "EINTR at each call" { every_failure EINTR; }

short_once() {
  fed "write-$1" env "LD_PRELOAD=$MC_HELPERS/short_write.so" "MC_SHORT_WRITE=$1" mc-spool --quiet write "write-$1/rec" --events 5 >/dev/null
  grep -q "ended=0$" "write-$1/ended" && judged "write-$1" --entered-all --max-lost 0
}

@test "each write is short once, and all of them at once: nothing is missing" {
  two_at_a_time short_once $(seq 0 40)
  [ "$(wc -l <verdicts)" -eq 41 ]
}
