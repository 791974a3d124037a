#include "media/nut_source.hpp"

namespace mc::media {

Result<std::unique_ptr<Source>> NutSource::open(ByteInput& input) {
  std::unique_ptr<NutSource> source(new NutSource(input));
  MC_TRY_ASSIGN(source->first_, source->next());
  if (!source->reader_.has_headers()) return fail(ErrorKind::damaged, input.what() + " ends inside the NUT headers");
  return source;
}

Result<std::optional<Packet>> NutSource::next() {
  if (first_) return std::exchange(first_, std::nullopt);
  for (;;) {
    auto packet = reader_.next();
    if (!packet) return fail(std::move(packet).error().within(input_.what()));
    if (*packet) return packet;
    MC_TRY_ASSIGN(const std::size_t n, input_.read(reader_.room()));
    if (n == 0) return std::optional<Packet>{};
    reader_.commit(n);
  }
}

SourceEnd NutSource::end() const {
  const NutReader::End end = reader_.finish();
  return {end.torn_bytes, end.damaged_bytes};
}

}  // namespace mc::media
