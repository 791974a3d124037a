// Coded packets from any container: what mc-mux reads.
//
//   MC_TRY_ASSIGN(auto source, open_source(input, options));
//   while (true) { MC_TRY_ASSIGN(auto packet, source->next()); if (!packet) break; … }
//   source->end();                         // how the input ended
//
// NUT is read by our own reader (nut_reader.hpp); everything else by libavformat, without its probing
// (avformat_find_stream_info waits for up to seconds of input): what the container leaves unsaid is looked up in the
// first packets (parameters.hpp). Streams and tags are complete when open_source returns, but for parameters that only
// packets carry. Memory is flat. Not for two threads at once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "media/byte_input.hpp"
#include "media/stream.hpp"

namespace mc::media {

struct SourceEnd {
  std::uint64_t torn_bytes = 0;     // of a last packet that was not whole, and was not given
  std::uint64_t damaged_bytes = 0;  // left out in the middle
};

class Source {
 public:
  virtual ~Source() = default;
  virtual const std::vector<Stream>& streams() const = 0;
  virtual const Tags& tags() const = 0;
  // The next packet of any stream, valid until the next call; nothing at the end of the input. Kinds: io, damaged.
  virtual Result<std::optional<Packet>> next() = 0;
  virtual SourceEnd end() const = 0;
};

struct SourceOptions {
  std::string format;  // a demuxer of libavformat by its name; empty: look at the bytes
  Log log = no_log();
};

// `input` must live as long as the source. Kinds: not_found (not a single byte came), damaged (nothing that can be
// read), refused (no picture and no sound in it), io.
Result<std::unique_ptr<Source>> open_source(ByteInput& input, const SourceOptions& options);

}  // namespace mc::media
