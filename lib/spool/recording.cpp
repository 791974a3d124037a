#include "spool/recording.hpp"

#include <algorithm>

#include "digest/sha256.hpp"

namespace mc::spool {
namespace {

// Large enough that the calls cost nothing, small enough to stay in the processor's cache while it is hashed.
constexpr std::size_t kHashPieceBytes = 512 * 1024;

}  // namespace

LoadedManifest load_manifest_bytes(ByteBuffer bytes) {
  LoadedManifest loaded;
  loaded.bytes = std::move(bytes);
  loaded.manifest = wire::parse_manifest(loaded.bytes);
  if (const auto& end = loaded.manifest.end; end && end->end_offset <= loaded.bytes.size()) {
    loaded.root_matches = digest::sha256_hex(ByteView(loaded.bytes).first(end->end_offset)) == end->root;
  }
  return loaded;
}

Result<LoadedManifest> load_manifest(sys::FileSystem& fs, const std::string& directory) {
  const std::string path = sys::join_path(directory, wire::kManifestName);
  MC_TRY_ASSIGN(ByteBuffer bytes, sys::read_file(fs, path, kMaxManifestBytes));
  return load_manifest_bytes(std::move(bytes));
}

std::vector<wire::TrackSummary> summarise(const mp4::Movie& movie) {
  std::vector<wire::TrackSummary> tracks;
  for (const auto& track : movie.tracks) {
    const char* kind = track.kind == mp4::TrackKind::video   ? "video"
                       : track.kind == mp4::TrackKind::audio ? "audio"
                                                             : "other";
    tracks.push_back({track.id, kind, track.timescale, track.nominal_duration,
                      track.descriptions.empty() ? "" : mp4::codec_string(track.descriptions.back())});
  }
  return tracks;
}

std::string init_lines(InitNumber number, const mp4::Movie& movie, ByteView bytes) {
  return wire::init_lines({number, bytes.size(), summarise(movie)}, digest::sha256_hex(bytes));
}

Result<FileHash> hash_file(sys::FileSystem& fs, const std::string& path) {
  MC_TRY_ASSIGN(const auto file, fs.open_read(path));
  MC_TRY_ASSIGN(const std::uint64_t size, file->size());
  digest::Sha256 hash;
  std::uint64_t offset = 0;
  ByteBuffer piece(std::min<std::uint64_t>(kHashPieceBytes, size + 1));
  for (;;) {
    MC_TRY_ASSIGN(const std::size_t n, file->read_at(offset, piece));
    hash.update(ByteView(piece).first(n));
    offset += n;
    if (n < piece.size()) break;
  }
  return FileHash{hash.hex(), offset};
}

}  // namespace mc::spool
