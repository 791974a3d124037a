# label: source
# Who may include whom (ARCHITECTURE.md): the tree keeps to it, and each way of breaking it is seen.
load ../helpers/common

CHECK=$BATS_TEST_DIRNAME/../helpers/check-includes

# forbidden FILE INCLUDE: with this line in this file the check fails, and names file, line and what was included.
forbidden() {
  local file=$1 include=$2 line
  mkdir -p "$(dirname "tree/$file")"
  [ ! -e "tree/$file" ] || cp "tree/$file" kept
  echo "#include $include" >>"tree/$file"
  line=$(wc -l <"tree/$file")
  expect_exit 1 "$CHECK" tree
  assert_output --partial "$file:$line: "
  assert_output --partial "${include:1:-1}"
  assert_equal "${#lines[@]}" 1
  if [ -e kept ]; then mv kept "tree/$file"; else rm "tree/$file"; fi
}

copy_tree() { mkdir tree && cp -r "$MC_SOURCE/lib" "$MC_SOURCE/tools" tree; }

@test "the tree keeps to the table" {
  expect_exit 0 "$CHECK" "$MC_SOURCE"
  assert_output ''
}

@test "a module that includes upward is seen" {
  copy_tree
  forbidden lib/base/error.cpp '"sys/fd.hpp"'
  forbidden lib/wire/names.hpp '"spool/recording.hpp"'
  forbidden lib/spool/recording.cpp '"media/demuxer.hpp"'
  forbidden lib/upload/extra.cpp '"server/server.hpp"'
  forbidden lib/mp4/box.cpp '"cli/app.hpp"'
}

@test "siblings of a level that include each other are seen" {
  copy_tree
  forbidden lib/wire/names.cpp '"digest/sha256.hpp"'
  forbidden lib/mp4/box.cpp '"sys/fd.hpp"'
  forbidden lib/store/extra.cpp '"join/plan.hpp"'
}

@test "cli that includes more than base and sys is seen" {
  copy_tree
  forbidden lib/cli/app.cpp '"wire/names.hpp"'
}

@test "a tool that includes another tool is seen" {
  copy_tree
  forbidden tools/mc-push/run.cpp '"mc-verify/run.hpp"'
}

@test "third-party headers outside the module that owns them are seen" {
  copy_tree
  forbidden lib/mp4/box.cpp '<libavformat/avformat.h>'
  forbidden tools/mc-mux/run.cpp '<libavcodec/avcodec.h>'
  forbidden lib/upload/extra.cpp '<curl/curl.h>'
  forbidden lib/store/extra.cpp '<boost/beast/core.hpp>'
  forbidden lib/spool/recording.cpp '<openssl/evp.h>'
  forbidden lib/sys/fd.cpp '<CLI/CLI.hpp>'
  forbidden lib/wire/protocol.cpp '<boost/json.hpp>'
  forbidden lib/base/clock.cpp '<boost/container/flat_map.hpp>'
}

@test "a module without a level is seen" {
  copy_tree
  mkdir tree/lib/novel
  echo '#include <vector>' >tree/lib/novel/x.cpp
  expect_exit 1 "$CHECK" tree
  assert_output "lib/novel/x.cpp:1: module 'novel' has no level"
}

@test "an include through .. or of an unknown module is seen" {
  copy_tree
  forbidden lib/base/error.cpp '"../sys/fd.hpp"'
  forbidden lib/base/error.cpp '"curl/curl.h"'
}

@test "indented and spaced include lines are read too" {
  copy_tree
  printf '  #  include   <curl/curl.h> // why not\n' >>tree/lib/base/clock.cpp
  expect_exit 1 "$CHECK" tree
  assert_output --partial 'lib/base/clock.cpp:'
}
