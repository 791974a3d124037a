// NUT from a ByteInput, as a Source. Opened by open_source.
#pragma once

#include "media/nut_reader.hpp"
#include "media/source.hpp"

namespace mc::media {

class NutSource : public Source {
 public:
  // Reads up to the first packet. The kinds of open_source.
  static Result<std::unique_ptr<Source>> open(ByteInput& input);

  const std::vector<Stream>& streams() const override { return reader_.streams(); }
  const Tags& tags() const override { return reader_.tags(); }
  Result<std::optional<Packet>> next() override;
  SourceEnd end() const override;

 private:
  explicit NutSource(ByteInput& input) : input_(input) {}
  ByteInput& input_;
  NutReader reader_;
  std::optional<Packet> first_;
};

}  // namespace mc::media
