// Any bytes as a NUT stream, through the reader and on through the fragmenter.
#include <fcntl.h>

#include "media/fragmenter.hpp"
#include "media/nut_reader.hpp"

namespace {

class Bytes : public mc::media::Source {
 public:
  explicit Bytes(mc::ByteView bytes) { reader_.push(bytes); }
  const std::vector<mc::media::Stream>& streams() const override { return reader_.streams(); }
  const mc::media::Tags& tags() const override { return reader_.tags(); }
  mc::Result<std::optional<mc::media::Packet>> next() override { return reader_.next(); }
  mc::media::SourceEnd end() const override { return {}; }

 private:
  mc::media::NutReader reader_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::media;
  // The first bytes are put in front, so that the fuzzer need not find them.
  mc::ByteBuffer bytes;
  mc::append(bytes, mc::as_bytes(nut::kFileId));
  mc::append(bytes, {data, size});
  Bytes source(bytes);
  auto first = source.next();
  if (!first || !*first) return 0;
  static const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  GatherWriter out([]() -> mc::Result<int> { return null; }, "nowhere");
  Fragmenter fragmenter(source, out, {});
  if (!fragmenter.add(**first)) return 0;
  for (;;) {
    const auto packet = source.next();
    if (!packet || !*packet || !fragmenter.add(**packet)) break;
  }
  (void)fragmenter.finish(InputEnd::whole);
  return 0;
}
