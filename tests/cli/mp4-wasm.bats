# lib/mp4 compiles to WebAssembly, as the browser that comes later will need it, and works there.
# label: long
load ../helpers/common

setup_file() {
  export MP4_WASM="$BATS_FILE_TMPDIR/mp4.wasm"
  "$MC_SOURCE/tests/helpers/build-wasm" "$MP4_WASM"
}

@test "lib/mp4 compiles to WebAssembly without exceptions, threads or files" {
  assert_equal "$(head -c 4 "$MP4_WASM" | od -An -tx1)" ' 00 61 73 6d'
}

@test "an init and a fragment survive writing and reading in WebAssembly" {
  command -v node >/dev/null || skip 'node is not here to run it'
  run node --no-warnings --experimental-wasi-unstable-preview1 "$MC_SOURCE/tests/helpers/wasm/run.mjs" "$MP4_WASM"
  assert_success
  assert_output 'inits=1 samples=50 bytes=1225 chunks=1 torn=0 codec=opus'
}
