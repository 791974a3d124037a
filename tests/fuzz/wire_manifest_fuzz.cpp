// The manifest's parser, and the mending of its lines, on any bytes: no crash, and what they say about themselves
// holds.
#include <cstdlib>

#include "require.hpp"
#include "wire/manifest.hpp"

namespace {

// Mending tries every byte: longer lines would only be slower.
constexpr std::size_t kMaxLine = 160;

void look_at_lines(std::string_view text) {
  require(mc::wire::whole_line_length(text) <= text.size());
  (void)mc::wire::has_damaged_newline(text);
  const std::string_view line = text.substr(0, text.find('\n'));
  if (line.size() > kMaxLine) return;
  const auto mended = mc::wire::mend_line(line);
  if (mended) require(mended->size() == line.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const mc::ByteView bytes(data, size);
  const auto m = mc::wire::parse_manifest(bytes);
  if (m.intact_bytes > size || m.torn_tail != (m.intact_bytes != size)) std::abort();
  // Cutting a torn tail off loses nothing that counted, and is what recovery relies on.
  const auto cut = mc::wire::parse_manifest(bytes.first(m.intact_bytes));
  if (cut.torn_tail || cut.files.size() != m.files.size() || cut.gaps != m.gaps || cut.notes != m.notes) std::abort();
  if (cut.damage.size() > m.damage.size()) std::abort();  // there may be damage in a torn group of lines
  look_at_lines(mc::as_text(bytes));
  return 0;
}
