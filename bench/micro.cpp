// The inner loops, in bytes a second and items a second: what a change in them costs, without files or processes.
#include <benchmark/benchmark.h>

#include <random>
#include <string>

#include "base/crc32c.hpp"
#include "digest/sha256.hpp"
#include "mp4/fragment.hpp"
#include "mp4/movie.hpp"
#include "mp4/progressive.hpp"
#include "mp4/stream_parser.hpp"
#include "wire/manifest.hpp"

namespace {

using namespace mc;

ByteBuffer noise(std::size_t n) {
  std::mt19937_64 random(1);
  ByteBuffer bytes(n);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

void crc32c_of(benchmark::State& state) {
  const ByteBuffer bytes = noise(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32c_of)->Arg(100)->Arg(32 << 10);

void sha256_of(benchmark::State& state) {
  const ByteBuffer bytes = noise(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(digest::sha256(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256_of)->Arg(100)->Arg(32 << 10)->Arg(1 << 20);

// A stream as mc-mux writes it: 30 pictures of 33 kB and 47 frames of sound a second, each its own fragment.
constexpr std::uint32_t kPictureBytes = 33'000, kSoundBytes = 340;

mp4::Movie movie() {
  const auto track = [](std::uint32_t id, mp4::TrackKind kind, std::uint32_t timescale) {
    mp4::Track made;
    made.id = id;
    made.kind = kind;
    made.timescale = timescale;
    ByteBuffer entry(100);
    store_be(entry.data(), entry.size(), 4);
    store_be(entry.data() + 4, kind == mp4::TrackKind::video ? 0x61766331 : 0x6D703461, 4);
    made.descriptions.push_back(std::move(entry));
    return made;
  };
  return {{track(1, mp4::TrackKind::video, 90000), track(2, mp4::TrackKind::audio, 48000)}};
}

mp4::Sample sample(std::uint32_t track, std::uint64_t number) {
  mp4::Sample made;
  made.track_id = track;
  made.duration = track == 1 ? 3000 : 1024;
  made.decode_time = number * made.duration;
  made.size_bytes = track == 1 ? kPictureBytes : kSoundBytes;
  made.sync = track == 2 || number % 30 == 0;
  return made;
}

ByteBuffer one_second() {
  ByteBuffer out;
  const ByteBuffer payload = noise(kPictureBytes);
  mp4::write_init(movie(), out);
  std::uint32_t sequence = 0;
  const auto add = [&](const mp4::Sample& s) {
    benchmark::DoNotOptimize(mp4::write_fragment_header(++sequence, {&s, 1}, out));
    append(out, ByteView(payload).first(s.size_bytes));
  };
  for (std::uint64_t i = 0; i < 30; ++i) add(sample(1, i));
  for (std::uint64_t i = 0; i < 47; ++i) add(sample(2, i));
  return out;
}

void parse_stream(benchmark::State& state) {
  const ByteBuffer stream = one_second();
  std::int64_t items = 0;
  for (auto _ : state) {
    mp4::StreamParser parser;
    for (std::size_t at = 0; at < stream.size(); at += 65536) {
      parser.push(ByteView(stream).subspan(at, std::min<std::size_t>(65536, stream.size() - at)));
      for (;;) {
        auto item = parser.next();
        if (!item) {
          state.SkipWithError(item.error().message.c_str());
          return;
        }
        if (!*item) break;
        ++items;
      }
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
  state.SetItemsProcessed(items);
}
BENCHMARK(parse_stream);

void write_fragment_headers(benchmark::State& state) {
  ByteBuffer out;
  const mp4::Sample one = sample(1, 1);
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(mp4::write_fragment_header(1, {&one, 1}, out));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(write_fragment_headers);

// The head of a joined file of so many hours.
void join_head(benchmark::State& state) {
  const auto seconds = static_cast<std::uint64_t>(state.range(0)) * 3600;
  for (auto _ : state) {
    mp4::ProgressiveWriter writer(movie());
    std::uint64_t position = 0;
    const auto add = [&](const mp4::Sample& s) {
      benchmark::DoNotOptimize(writer.add(s, position));
      position += s.size_bytes;
    };
    for (std::uint64_t second = 0; second < seconds; ++second) {
      for (std::uint64_t i = 0; i < 30; ++i) add(sample(1, second * 30 + i));
      for (std::uint64_t i = 0; i < 47; ++i) add(sample(2, second * 47 + i));
      writer.end_chunk();
    }
    benchmark::DoNotOptimize(writer.head(position));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(seconds * 77));
}
BENCHMARK(join_head)->Arg(1)->Arg(24)->Unit(benchmark::kMillisecond);

void parse_manifest_lines(benchmark::State& state) {
  std::string text = wire::header_line();
  const std::string hash(64, 'a');
  for (std::uint32_t i = 1; i <= 3600; ++i) {
    wire::ChunkLine line;
    line.number = {i};
    line.bytes = 1'000'000;
    line.start = {static_cast<std::int64_t>(i) * 90000, 90000};
    line.duration = {90000, 90000};
    line.video = 30;
    line.audio = 47;
    line.init = {1};
    text += wire::chunk_lines(line, hash);
  }
  for (auto _ : state) benchmark::DoNotOptimize(wire::parse_manifest(as_bytes(text)));
  state.SetItemsProcessed(state.iterations() * 3600);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(parse_manifest_lines)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
