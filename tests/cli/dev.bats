# label: source
# ./dev: what it does with packages, on a machine made of stand-ins; and how tests are counted.
load ../helpers/common

# A machine on which `dpkg-query` knows the packages in the file `installed`, and `apt-get` and `sudo` write down how they were
# called. PATH has nothing else that could install.
fake_machine() {
  mkdir machine
  local program
  for program in bash env readlink dirname basename sort comm sed cat mktemp rm tr head; do
    ln -s "$(command -v "$program")" "machine/$program"
  done
  printf '#!/bin/bash\ncat "%s/installed"\n' "$PWD" >machine/dpkg-query
  printf '#!/bin/bash\necho "apt-get $*" >>"%s/calls"\n' "$PWD" >machine/apt-get
  printf '#!/bin/bash\necho %s\n' "$1" >machine/id
  chmod +x machine/*
  : >installed
  : >calls
}
dev() { env -i PATH="$PWD/machine" HOME="$PWD" TMPDIR="$PWD" "$PWD/machine/bash" "$MC_SOURCE/dev" "$@"; }

@test "without a command it says what there is" {
  run -0 "$MC_SOURCE/dev"
  for command in setup build test demo bench lint fmt; do assert_output --partial "  $command "; done
}

@test "a wrong command is 64 with a hint" {
  expect_exit 64 "$MC_SOURCE/dev" polish
  assert_line "dev: error: no command 'polish'"
  assert_line --partial 'hint: '
  expect_exit 64 "$MC_SOURCE/dev" demo --fast
  expect_exit 66 "$MC_SOURCE/dev" demo no-such-file.mp4
  assert_output --partial "'$PWD/no-such-file.mp4'"
}

@test "what is missing is installed, and nothing is removed for it" {
  fake_machine 0
  run -0 dev setup
  grep -q ' update$' calls
  grep -q ' install .*--no-remove .*ninja-build' calls
}

@test "what is there is not installed again" {
  fake_machine 0
  printf 'installed %s\n' bats g++ ninja-build >installed
  echo 'config-files cmake' >>installed
  run -0 dev setup
  grep ' install ' calls | tr ' ' '\n' >asked
  run ! grep -qx -e bats -e g++ -e ninja-build asked
  grep -qx cmake asked
}

@test "with nothing missing apt is not called" {
  fake_machine 0
  dev setup
  grep ' install ' calls | tr ' ' '\n' | grep -E '^[a-z]' | sed 's/^/installed /' >installed
  : >calls
  run -0 dev setup
  assert_output ''
  [ ! -s calls ]
}

@test "neither root nor sudo: one line that says what to install" {
  fake_machine 1000
  run -77 dev setup
  assert_equal "${#lines[@]}" 1
  assert_output --partial 'neither root nor sudo: apt-get install '
  [ ! -s calls ]
}

@test "not root, but sudo: apt runs through it" {
  fake_machine 1000
  printf '#!/bin/bash\necho "sudo $*" >>"%s/calls"\n"$@"\n' "$PWD" >machine/sudo
  chmod +x machine/sudo
  run -0 dev setup
  grep -q '^sudo .*apt-get .*install' calls
}

@test "apt that fails is an error that shows what apt said" {
  fake_machine 0
  printf '#!/bin/bash\necho "E: no such place"\nexit 100\n' >machine/apt-get
  run -75 dev setup
  assert_line 'E: no such place'
  assert_line --partial 'dev: error: apt-get'
}

@test "a machine without apt gets a line that says what to do" {
  fake_machine 0
  rm machine/apt-get
  run -69 dev setup
  assert_equal "${#lines[@]}" 1
  assert_output --partial MC_SETUP=no
  MC_SETUP=no run -0 env -i MC_SETUP=no PATH="$PWD/machine" "$PWD/machine/bash" "$MC_SOURCE/dev" setup
}

# results ENTRIES...: a directory as a run of ctest leaves it; an entry is STATUS:NAME.
results() {
  mkdir results
  local entry
  for entry; do
    echo "  <testcase name=\"${entry#*:}\" classname=\"${entry#*:}\" time=\"0.1\" status=\"${entry%%:*}\">"
  done >results/ctest.xml
}
counted() { run -0 "$BATS_TEST_DIRNAME/../helpers/count-tests" results; assert_output "$1"; }

@test "cases are counted, not programs" {
  results run:unit/base run:cli/x run:crash/states
  echo '<testsuites tests="5" failures="0" disabled="0" errors="0">' >results/mc_crash_states.xml
  cat >results/mc_unit_base.xml <<'END'
<testsuites tests="12" failures="0" disabled="1" errors="0" time="0." name="AllTests">
  <testsuite name="A" tests="7" failures="0" disabled="1" skipped="2" errors="0" time="0."/>
END
  printf '1..3\nok 1 a\nok 2 b # skip no camera\nok 3 c\n' >results/cli_x.tap
  counted '16 0 4'
}

@test "failed cases are counted as they are" {
  results fail:unit/base fail:cli/x
  echo '<testsuites tests="12" failures="2" disabled="0" errors="0">' >results/mc_unit_base.xml
  printf '1..3\nok 1 a\nnot ok 2 b\n# why\nok 3 c\n' >results/cli_x.tap
  counted '12 3 0'
}

@test "a program that died before its report is one failure, not none" {
  results fail:unit/base fail:cli/x
  printf '1..3\nok 1 a\n' >results/cli_x.tap
  counted '1 2 0'
}

@test "an entry that did not run is skipped" {
  results notrun:cli/x
  counted '0 0 1'
}

@test "what tests measured is shown, of failed cases only that" {
  mkdir results
  cat >results/ctest.xml <<'END'
<testsuite name="(empty)">
  <testcase name="net/chaos" classname="net/chaos" time="1" status="fail">
    <failure message=""/>
    <system-out>1..3
stalls: sent again 4096 bytes &amp; 2 &lt; 3
ok 1 stalls
not ok 2 drop
# (in test file x.bats, line 3)
#   `false' failed
# counted: 7
ok 3 rate
</system-out>
  </testcase>
  <testcase name="crash/states" classname="crash/states" time="1" status="run">
    <system-out>Running main() from ./googletest/src/gtest_main.cc
prefix  5000
[==========] 4 tests from 1 test suite ran. (9 ms total)
[  PASSED  ] 4 tests.
</system-out>
  </testcase>
</testsuite>
END
  run -0 "$BATS_TEST_DIRNAME/../helpers/test-figures" results
  assert_output $'net/chaos: stalls: sent again 4096 bytes & 2 < 3\ncrash/states: prefix  5000'
}

@test "no results are no tests" {
  mkdir results
  counted '0 0 0'
}

@test "what failed is said again at the end: the cases that failed, and why" {
  mkdir results
  cat >results/ctest.xml <<'END'
  <testcase name="cli/good" status="run"><system-out>ok 1 fine
</system-out></testcase>
  <testcase name="cli/bad" status="fail"><system-out>1..2
not ok 1 a &lt;thing&gt;
# why
ok 2 another
</system-out></testcase>
  <testcase name="unit/bad" status="fail"><system-out>[ RUN      ] A.b
x.cpp:3: Failure
Expected: 1
[  FAILED  ] A.b (3 ms)
[       OK ] A.c
</system-out></testcase>
  <testcase name="unit/dead" status="fail"><system-out>[ RUN      ] A.b
Segmentation fault
</system-out></testcase>
END
  run -0 "$BATS_TEST_DIRNAME/../helpers/failed-tests" results
  for line in cli/bad: '  not ok 1 a <thing>' '  # why' unit/bad: '  Expected: 1' unit/dead: '  Segmentation fault'; do
    assert_line "$line"
  done
  refute_output --partial good
  refute_output --partial another
  refute_output --partial 'A.c'
}
