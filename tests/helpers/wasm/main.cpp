// The program that shows lib/mp4 at work in WebAssembly: writes an init and a fragment, reads them back as a stream in
// small pieces, and prints one line of what it found. Compiled by build-wasm only.
#include <cstdio>

#include "mp4/codec.hpp"
#include "mp4/cut_rule.hpp"
#include "mp4/stream_parser.hpp"

namespace {

using namespace mc;
using namespace mc::mp4;

Movie make_movie() {
  Track sound;
  sound.id = 1;
  sound.kind = TrackKind::audio;
  sound.timescale = 48000;
  sound.nominal_duration = 960;
  CodecParameters parameters;
  parameters.codec = Codec::opus;
  parameters.channels = 2;
  if (auto entry = make_sample_entry(parameters, {})) sound.descriptions.push_back(std::move(*entry));
  return Movie{{sound}};
}

int run() {
  const Movie movie = make_movie();
  ByteBuffer stream;
  write_init(movie, stream);
  std::vector<Sample> samples(50);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].track_id = 1;
    samples[i].decode_time = i * 960;
    samples[i].duration = 960;
    samples[i].size_bytes = static_cast<std::uint32_t>(i);
  }
  if (!write_fragment_header(1, samples, stream)) return 1;
  for (std::size_t i = 0; i < samples.size(); ++i) stream.resize(stream.size() + i, static_cast<std::uint8_t>(i));

  StreamParser parser;
  CutRule rule(movie);
  std::size_t inits = 0, read = 0, cuts = 0, bytes = 0;
  for (std::size_t at = 0; at < stream.size(); at += 7) {
    parser.push(ByteView(stream).subspan(at, std::min<std::size_t>(7, stream.size() - at)));
    while (true) {
      auto item = parser.next();
      if (!item) {
        std::printf("error: %s\n", item.error().message.c_str());
        return 1;
      }
      if (!*item) break;
      if (std::holds_alternative<InitItem>(**item)) ++inits;
      if (const auto* sample = std::get_if<SampleItem>(&**item)) {
        ++read;
        bytes += sample->data.size();
        if (rule.starts_chunk(sample->sample)) ++cuts;
      }
    }
  }
  std::printf("inits=%zu samples=%zu bytes=%zu chunks=%zu torn=%llu codec=%s\n", inits, read, bytes, cuts,
              static_cast<unsigned long long>(parser.finish().torn_bytes),
              codec_string(movie.tracks[0].descriptions[0]).c_str());
  return 0;
}

}  // namespace

int main() { return run(); }
