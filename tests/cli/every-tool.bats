# What mc(7) says of every tool, tried on every tool.
load ../helpers/common

PAGES=$MC_SOURCE/man
COMMON='--help --json --progress --quiet --verbose --version -h -q -v'

@test "--help is on stdout, names the tool and ends with 0" {
  for tool in "${TOOLS[@]}"; do
    "$tool" --help >out 2>err || fail "$tool --help: exit $?"
    [ ! -s err ] || fail "$tool --help wrote on stderr: $(cat err)"
    grep -q -- "$tool" out || fail "$tool --help does not name it"
    grep -q -- '--version' out || fail "$tool --help lists no options"
    run grep -anP '[^\x20-\x7e]|ENUM:|->' out
    [ "$status" -eq 1 ] || fail "$tool --help is not for people: $output"
  done
}

@test "--version is one line on stdout: the name and a number" {
  for tool in "${TOOLS[@]}"; do
    "$tool" --version >out 2>err || fail "$tool --version: exit $?"
    [ ! -s err ] || fail "$tool --version wrote on stderr: $(cat err)"
    [ "$(wc -l <out)" -eq 1 ] || fail "$tool --version: $(cat out)"
    grep -qxE "$tool [0-9]+\.[0-9]+\.[0-9]+" out || fail "$tool --version: $(cat out)"
  done
}

@test "a wrong command line is 64, with one line of error and a hint" {
  for tool in "${TOOLS[@]}"; do
    for arguments in --no-such-flag '--progress=perhaps' '-Z'; do
      run --separate-stderr "$tool" $arguments </dev/null
      [ "$status" -eq 64 ] || fail "$tool $arguments: exit $status: $stderr"
      [ -z "$output" ] || fail "$tool $arguments: stdout: $output"
      [ "${#stderr_lines[@]}" -eq 2 ] || fail "$tool $arguments: $stderr"
      [[ ${stderr_lines[0]} == "$tool: error: "* ]] || fail "$tool $arguments: $stderr"
      [[ ${stderr_lines[1]} == "hint: "* ]] || fail "$tool $arguments: $stderr"
    done
  done
}

@test "tools that need an argument say so without one" {
  for tool in mc-capture mc-spool mc-push mc-verify mc-join; do
    run --separate-stderr "$tool" </dev/null
    [ "$status" -eq 64 ] || fail "$tool: exit $status: $stderr"
    [ -z "$output" ] || fail "$tool: stdout: $output"
    [[ ${stderr_lines[0]} == "$tool: error: "* ]] || fail "$tool: $stderr"
  done
}

@test "an option that may be repeated takes one value, not the arguments behind it" {
  mkdir rec
  for tool in mc-verify mc-push; do
    expect_exit 66 "$tool" --key "$PWD/no-such-key" rec http://127.0.0.1:9
    assert_output --partial no-such-key
  done
}

@test "a stdout that is full is an error" {
  for tool in "${TOOLS[@]}"; do
    for flag in --help --version; do
      run -73 bash -c '"$0" "$1" >/dev/full' "$tool" "$flag"
      assert_output --partial "$tool: error: "
      assert_output --partial 'no space left'
    done
  done
}

@test "a stdout that is closed is an error" {
  for tool in "${TOOLS[@]}"; do
    for flag in --help --version; do
      run -74 bash -c '"$0" "$1" >&-' "$tool" "$flag"
      assert_output --partial "$tool: error: "
    done
  done
}

@test "a stdin or stderr that is closed changes nothing for --version" {
  for tool in "${TOOLS[@]}"; do
    run -0 bash -c '"$0" --version <&- 2>&-' "$tool"
    assert_output --partial "$tool "
  done
}

# The options of the tool's help and of each subcommand's, one a line.
options_of_help() {
  local tool=$1 subcommand
  {
    "$tool" --help
    for subcommand in $("$tool" --help | sed -n '/^Subcommands:/,$s/^  \([a-z][a-z-]*\).*/\1/p'); do
      "$tool" "$subcommand" --help
    done
  } | sed -nE 's/^ +(-[^ ]*).*/\1/p' | tr ',' '\n' | sort -u
}

# The options that a page has an entry for.
options_of_page() {
  awk '/^\.It Fl / {
    flag = 1
    for (i = 3; i <= NF; i++) {
      if ($i == "Ar" || $i == "Cm" || $i == "Ns") flag = 0
      else if ($i == "Fl") flag = 1
      else if (flag && $i != "," && $i != "|" && $i ~ /^-?[A-Za-z]/) print "-" $i
    }
  }' "$1" | sort -u
}

@test "--help and the manual page know the same options" {
  for tool in "${TOOLS[@]}"; do
    page=$PAGES/$tool.1
    [ -e "$page" ] || fail "$tool has no manual page"
    options_of_help "$tool" >help
    options_of_page "$page" >page
    [ -s help ] || fail "$tool --help lists no options"
    # Common options may be left to mc(7), when the page refers to it.
    if grep -q '^\.Xr mc 7' "$page"; then tr ' ' '\n' <<<"$COMMON" | sort | comm -12 - help | sort -u - page >pages; else mv page pages; fi
    diff -u help pages || fail "$tool: left --help, right the manual page"
  done
}

@test "mc(7) has the common options, each exit code and each tool" {
  tr ' ' '\n' <<<"$COMMON" | sort >common
  options_of_page "$PAGES/mc.7" | grep -vx -e --notify-fd >page
  diff -u common page
  for code in 0 1 64 65 66 69 70 73 74 75 76 77 78; do grep -qx "\.It $code" "$PAGES/mc.7" || fail "no $code"; done
  for tool in "${TOOLS[@]}"; do grep -q "^\.It Xr $tool 1" "$PAGES/mc.7" || fail "no $tool"; done
}

@test "manual pages are clean, have their sections, and refer to pages that exist" {
  mandoc -T lint -W warning "$PAGES"/*.[1-8]
  for tool in "${TOOLS[@]}"; do
    for section in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
      grep -qx "\.Sh $section" "$PAGES/$tool.1" || fail "$tool.1 has no $section"
    done
  done
  while read -r name section; do
    [ -e "$PAGES/$name.$section" ] || fail "a page refers to $name($section), which is not there"
  done < <(grep -hoE '^\.(It )?Xr mc[a-z-]* [0-9]' "$PAGES"/*.[1-8] | sed 's/.*Xr //' | sort -u)
}

@test "exit codes of a tool's page are those of mc(7)" {
  for tool in "${TOOLS[@]}"; do
    for code in $(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/s/^\.It \([0-9][0-9]*\)$/\1/p' "$PAGES/$tool.1"); do
      grep -qx "\.It $code" "$PAGES/mc.7" || fail "$tool.1: exit status $code is not in mc(7)"
    done
  done
}

@test "completion offers options and subcommands" {
  source "$MC_SOURCE/completions/mc.bash"
  complete_words() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _mc_tool
  }
  complete_words mc-spool re
  assert_equal "${COMPREPLY[*]}" recover
  complete_words mc-spool write --ev
  assert_equal "${COMPREPLY[*]}" --events
  complete_words mc-push --progress al
  assert_equal "${COMPREPLY[*]}" always
  for tool in "${TOOLS[@]}"; do
    complete_words "$tool" --vers
    assert_equal "${COMPREPLY[*]}" --version
    complete -p "$tool"
  done
}
