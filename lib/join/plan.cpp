#include "join/plan.hpp"

#include <algorithm>
#include <memory>

#include "digest/sha256.hpp"
#include "mp4/box.hpp"
#include "mp4/fragment.hpp"
#include "mp4/movie.hpp"
#include "mp4/progressive.hpp"
#include "mp4/stream_parser.hpp"

namespace mc::join {
namespace {

// A chunk's first moof, and what stands before it, usually fit: one read a fragment.
constexpr std::size_t kWindowBytes = 8192;

Error in_file(const std::string& name, Error error) {
  if (error.kind == ErrorKind::not_found) {
    return {ErrorKind::damaged, "'" + name + "' is missing", error.sys_errno, "mc-verify lists all that is wrong"};
  }
  return std::move(error).within("'" + name + "'");
}

// A file's bytes around where a box walk stands.
class Window {
 public:
  Window(const Reader& read, const std::string& name) : read_(read), name_(name) {}

  // `n` bytes at `offset`; fewer at the end of the file. Valid until the next call.
  Result<ByteView> get(std::uint64_t offset, std::size_t n) {
    if (offset < start_ || offset + n > start_ + bytes_.size()) {
      bytes_.resize(std::max(n, kWindowBytes));
      MC_TRY_ASSIGN(const std::size_t got, read_(name_, offset, bytes_));
      bytes_.resize(got);
      start_ = offset;
    }
    const ByteView all(bytes_);
    const auto from = static_cast<std::size_t>(offset - start_);
    return all.subspan(from, std::min(n, all.size() - from));
  }

 private:
  const Reader& read_;
  const std::string& name_;
  std::uint64_t start_ = 0;
  ByteBuffer bytes_;
};

class Planner {
 public:
  Planner(const Reader& read, mp4::Movie movie, Tracks tracks)
      : read_(read), movie_(std::move(movie)), tracks_(tracks), writer_(movie_) {}

  Status add_chunk(const wire::ManifestFile& file) {
    const auto index = static_cast<std::uint32_t>(plan_.files.size());
    plan_.files.push_back({file.name, file.sha256, file.bytes()});
    Window window(read_, file.name);
    std::uint64_t used = 0;
    if (file.bytes() == 0) return fail(ErrorKind::damaged, "has no bytes");
    for (std::uint64_t at = 0; at < file.bytes();) {
      MC_TRY_ASSIGN(const ByteView head, window.get(at, 16));
      MC_TRY_ASSIGN(const mp4::BoxHeader box, mp4::read_box_header(head));
      if (!box.complete) return fail(ErrorKind::damaged, "ends inside a box");
      const std::uint64_t size = box.size_bytes == 0 ? file.bytes() - at : box.size_bytes;
      if (size > file.bytes() - at) return fail(ErrorKind::damaged, "ends inside a box");
      if (box.type == mp4::fourcc("moof")) MC_TRY(add_fragment(window, at, size, index, used));
      at += size;
    }
    MC_TRY_ASSIGN(const ByteView tail, window.get(file.bytes() - 1, 2));
    if (tail.size() != 1) return fail(ErrorKind::damaged, "is not as long as the manifest says");
    writer_.end_chunk();
    return {};
  }

  void add_mark(const wire::NoteLine& note) {
    const auto time = note.time();
    if (!time) return;
    const std::int64_t at_ns = rescale(time->ticks, time->timescale, kNanosecondsPerSecond);
    ++(writer_.add_chapter(at_ns, note.value("text").value_or("")) ? plan_.chapters : plan_.chapters_left);
  }

  Plan finish() {
    plan_.head = writer_.head(payload_);
    for (Range& range : plan_.ranges) range.position += plan_.head.size();
    plan_.size_bytes = plan_.head.size() + payload_;
    plan_.video_frames = writer_.samples(mp4::TrackKind::video);
    plan_.audio_frames = writer_.samples(mp4::TrackKind::audio);
    plan_.has_picture = plan_.video_frames > 0;
    plan_.duration_s = writer_.duration_seconds();
    return std::move(plan_);
  }

  bool empty() const { return payload_ == 0; }

 private:
  // `used` bytes of the file are in ranges so far. Samples that overlap would make a small file into an endless one.
  Status add_fragment(Window& window, std::uint64_t at, std::uint64_t size, std::uint32_t index, std::uint64_t& used) {
    if (size > mp4::kMaxHeaderBoxBytes) return fail(ErrorKind::damaged, "has a moof that is too large");
    MC_TRY_ASSIGN(const ByteView moof, window.get(at, static_cast<std::size_t>(size)));
    if (moof.size() != size) return fail(ErrorKind::damaged, "is shorter than the manifest says");
    MC_TRY_ASSIGN(const std::vector<mp4::LocatedSample> samples, mp4::parse_moof(moof, at, movie_));
    const std::uint64_t file_bytes = plan_.files[index].bytes;
    for (const mp4::LocatedSample& located : samples) {
      if (!is_wanted(located.sample)) continue;
      const std::uint64_t length = located.sample.size_bytes;
      if (located.offset > file_bytes || length > file_bytes - located.offset || length > file_bytes - used) {
        return fail(ErrorKind::damaged, "has frames outside of its own bytes");
      }
      MC_TRY(writer_.add(located.sample, payload_));
      append_range(index, located.offset, length);
      used += length;
    }
    return {};
  }

  // A track that the init has not is wanted: the writer says what is wrong with it.
  bool is_wanted(const mp4::Sample& sample) const {
    if (tracks_ == Tracks::all) return true;
    const mp4::Track* track = movie_.find(sample.track_id);
    return track == nullptr || track->kind == mp4::TrackKind::audio;
  }

  void append_range(std::uint32_t index, std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return;
    Range* last = plan_.ranges.empty() ? nullptr : &plan_.ranges.back();
    if (last != nullptr && last->file == index && last->offset + last->length == offset) {
      last->length += length;
    } else {
      plan_.ranges.push_back({index, offset, length, payload_});
    }
    payload_ += length;
  }

  const Reader& read_;
  const mp4::Movie movie_;
  const Tracks tracks_;
  mp4::ProgressiveWriter writer_;
  Plan plan_;
  std::uint64_t payload_ = 0;
};

// A manifest that has lost a line may have lost a chunk: joined, the hole would look like part of the recording.
Status check_manifest(const spool::LoadedManifest& loaded) {
  const wire::Manifest& manifest = loaded.manifest;
  if (manifest.version == 0 && manifest.damage.empty()) return fail(ErrorKind::damaged, "'manifest' is not a manifest");
  if (!manifest.damage.empty()) {
    const wire::ManifestDamage& first = manifest.damage.front();
    return fail(Error{ErrorKind::damaged,
                      "'manifest' is damaged in line " + std::to_string(first.line) + ": " + first.what, 0,
                      "mc-spool recover DIR puts it right, where the recording lies on this disk"});
  }
  if (!manifest.end) return {};
  if (!loaded.root_matches) {
    return fail(ErrorKind::damaged, "'manifest' is damaged: its root is not the hash of its lines");
  }
  if (manifest.end->chunks != manifest.chunk_count()) {
    return fail(ErrorKind::damaged, "'manifest' lists " + std::to_string(manifest.chunk_count()) +
                                        " chunks and ends with " + std::to_string(manifest.end->chunks));
  }
  return {};
}

// The last init has every description so far, so it fits every chunk (design: "Chunks").
Result<mp4::Movie> load_movie(const wire::Manifest& manifest, const Reader& read) {
  const auto last = std::find_if(manifest.files.rbegin(), manifest.files.rend(),
                                 [](const wire::ManifestFile& file) { return file.init.has_value(); });
  if (last == manifest.files.rend()) return fail(ErrorKind::damaged, "'manifest' lists no init");
  if (last->bytes() > mp4::kMaxHeaderBoxBytes) return fail(ErrorKind::damaged, "'" + last->name + "' is too large");
  const auto load = [&]() -> Result<mp4::Movie> {
    ByteBuffer bytes(static_cast<std::size_t>(last->bytes()) + 1);
    MC_TRY_ASSIGN(const std::size_t n, read(last->name, 0, bytes));
    bytes.resize(n);
    if (n != last->bytes()) return fail(ErrorKind::damaged, "is not as long as the manifest says");
    if (digest::sha256_hex(bytes) != last->sha256)
      return fail(ErrorKind::damaged, "is not what the manifest says (SHA-256)");
    return mp4::parse_init(bytes);
  };
  auto movie = load();
  if (!movie) return fail(in_file(last->name, std::move(movie).error()));
  return movie;
}

}  // namespace

Reader directory_reader(sys::FileSystem& fs, std::string directory) {
  struct Open {
    std::string name;
    std::unique_ptr<sys::File> file;
  };
  return [&fs, directory = std::move(directory), open = std::make_shared<Open>()](
             const std::string& name, std::uint64_t offset, std::span<std::uint8_t> into) -> Result<std::size_t> {
    if (open->file == nullptr || open->name != name) {
      open->file = nullptr;
      MC_TRY_ASSIGN(open->file, fs.open_read(sys::join_path(directory, name)));
      open->name = name;
    }
    return open->file->read_at(offset, into);
  };
}

Result<Plan> make_plan(const spool::LoadedManifest& loaded, const Reader& read, Tracks tracks) {
  MC_TRY(check_manifest(loaded));
  if (loaded.manifest.chunk_count() == 0) {
    return fail(Error{ErrorKind::damaged, "the recording is empty: its manifest lists no chunk", 0,
                      "nothing was recorded, or nothing of it became durable"});
  }
  MC_TRY_ASSIGN(mp4::Movie movie, load_movie(loaded.manifest, read));
  Planner planner(read, std::move(movie), tracks);
  for (const wire::ManifestFile& file : loaded.manifest.files) {
    if (!file.chunk) continue;
    if (auto added = planner.add_chunk(file); !added) return fail(in_file(file.name, std::move(added).error()));
  }
  for (const wire::NoteLine& note : loaded.manifest.notes) {
    if (note.keyword == "mark") planner.add_mark(note);
  }
  if (planner.empty() && tracks == Tracks::sound) return fail(ErrorKind::not_found, "the recording has no sound");
  if (planner.empty()) return fail(ErrorKind::damaged, "the recording is empty: there is no frame in its chunks");
  Plan plan = planner.finish();
  plan.closed = loaded.manifest.end.has_value();
  return plan;
}

}  // namespace mc::join
