// The manifest's parser on any bytes: no crash, and what it says about itself holds.
#include <cstdlib>

#include "wire/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const mc::ByteView bytes(data, size);
  const auto m = mc::wire::parse_manifest(bytes);
  if (m.intact_bytes > size || m.torn_tail != (m.intact_bytes != size)) std::abort();
  // Cutting a torn tail off loses nothing that counted, and is what recovery relies on.
  const auto cut = mc::wire::parse_manifest(bytes.first(m.intact_bytes));
  if (cut.torn_tail || cut.files.size() != m.files.size() || cut.gaps != m.gaps || cut.notes != m.notes) std::abort();
  if (m.damage.size() != cut.damage.size()) std::abort();
  return 0;
}
