# Input that is spoilt, for each tool: empty, of no meaning, cut, and with a byte flipped. Loaded behind common.

# noise SEED: 20,000 bytes of no meaning, the same in each run. Of 60 seeds, libavformat takes that of 7 for a file that it
# then cannot open.
noise() { openssl enc -aes-128-ctr -nosalt -pbkdf2 -pass "pass:$1" -in /dev/zero 2>"$BATS_FILE_TMPDIR/openssl.err" | head -c 20000; }

# flipped FILE OFFSET >OUT: FILE with half of the bits at OFFSET turned over.
flipped() {
  local byte
  byte=$(xxd -s "$2" -l 1 -p "$1")
  head -c "$2" "$1"
  printf '%b' "\\x$(printf %02x $((0x$byte ^ 0x55)))"
  tail -c +$(($2 + 2)) "$1"
}

# places SIZE N: N offsets below SIZE, the same in each run: every other one in the first tenth, where the headers are.
places() {
  awk -v size="$1" -v n="$2" 'BEGIN { srand(4711); for (i = 1; i <= n; i++) print int(rand() * (i % 2 ? size : size / 10)) }'
}

# sweep COMMAND N FILE: COMMAND cut at N places of FILE, and COMMAND flipped likewise; COMMAND BAD WHAT judges.
sweep() {
  local command=$1 file=$3 at
  while read -r at; do
    head -c "$at" "$file" >bad
    "$command" bad "${file##*/} cut at $at" || return 1
    flipped "$file" "$at" >bad
    "$command" bad "${file##*/} flipped at $at" || return 1
  done < <(places "$(stat -c %s "$file")" "$2")
}

# sweep_recording COMMAND N: COMMAND BAD-DIRECTORY NAME cut|flipped WHAT, with one file of the recording spoilt at a time.
sweep_recording() {
  local command=$1 good=$BATS_FILE_TMPDIR/studio/001/alice file name at names
  mkdir -p studio/001 && cp -r "$good" studio/001
  names=(manifest init_001.mp4 chunk_000001.m4s chunk_000002.m4s chunk_000003.m4s)
  for name in "${names[@]}"; do
    file=$good/$name
    while read -r at; do
      head -c "$at" "$file" >studio/001/alice/$name
      "$command" studio/001/alice $name cut "$name cut at $at" || return 1
      flipped "$file" "$at" >studio/001/alice/$name
      "$command" studio/001/alice $name flipped "$name flipped at $at" || return 1
    done < <(places "$(stat -c %s "$file")" $(($2 / ${#names[@]})))
    cp "$file" studio/001/alice
  done
}

# is_one_of CODE CODES WHAT: what it ended with is an answer and no crash.
is_one_of() { [[ " $2 " == *" $1 "* ]] || { echo "$3: exit $1"; cat err; return 1; }; }
has_message() { [ "$1" -eq 0 ] || grep -Eq "^$2: (error|warning): " err || { echo "$3: exit $1 without a message"; return 1; }; }
