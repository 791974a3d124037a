# `cmake --install`: programs, manual pages and completion, units, complete and without the build directory.
load ../helpers/common

@test "installs every tool, page and completion, and nothing of the tests" {
  cmake --install "$MC_BUILD" --prefix "$PWD/root" >log
  for tool in "${TOOLS[@]}"; do
    env -i "root/bin/$tool" --version
    [ -s "root/share/man/man1/$tool.1" ] || fail "no page of $tool"
    [ -s "root/share/bash-completion/completions/$tool" ] || fail "no completion of $tool"
  done
  [ -s root/share/man/man7/mc.7 ]
  for unit in mc-serve.service mc-serve.socket mc-push@.service; do
    [ -s "root/lib/systemd/system/$unit" ] || fail "no unit $unit"
    run ! grep -n '@[a-z]*@' "root/lib/systemd/system/$unit"
  done
  run -0 grep -h '^ExecStart=/.*/mc-serve ' root/lib/systemd/system/mc-serve.service
  [ -s root/share/man/man5/mc-spool-format.5 ]
  assert_equal "$(find root -type f | grep -vE '^root/(bin/mc-|share/man/man[157]/mc|share/bash-completion/completions/mc-|lib/systemd/system/mc-)' || true)" ''
}
