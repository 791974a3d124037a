#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/gap_rule.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

constexpr std::size_t kPieceBytes = 512 * 1024;

class Verifier {
 public:
  Verifier(sys::FileSystem& fs, const std::string& directory, const VerifyOptions& options, LoadedManifest loaded)
      : fs_(fs), directory_(directory), options_(options), loaded_(std::move(loaded)) {}

  Result<VerifyReport> run() {
    check_manifest();
    for (const wire::ManifestFile& file : manifest().files) total_bytes_ += file.bytes();
    for (const wire::ManifestFile& file : manifest().files) check_file(file);
    check_track_ends();
    MC_TRY(check_directory());
    return std::move(report_);
  }

 private:
  // What a track has come to, over all chunks.
  struct TrackState {
    std::uint64_t decode_time = 0;
    std::uint64_t duration = 0;
    std::string chunk;  // that holds this sample
  };
  // What a chunk turned out to hold.
  struct ChunkContent {
    std::uint32_t video = 0, audio = 0;
    std::optional<std::uint64_t> reference_start;
    std::uint64_t reference_duration = 0;
    bool saw_picture = false;
    bool out_of_order = false;
  };

  const wire::Manifest& manifest() const { return loaded_.manifest; }
  void find(std::string name, std::string problem, std::string detail) {
    report_.findings.push_back({std::move(name), std::move(problem), std::move(detail)});
  }
  void note(std::string text) { report_.notes.push_back(std::move(text)); }

  void check_manifest() {
    const wire::Manifest& m = manifest();
    report_.closed = m.end.has_value();
    report_.recording_id = m.recording_id;
    report_.path = m.path.value_or(wire::RecordingPath{});
    for (const wire::ManifestDamage& damage : m.damage) {
      find(wire::kManifestName, "damaged", fmt::format("line {}: {}", damage.line, damage.what));
    }
    if (m.damage.empty() && m.version == 0) find(wire::kManifestName, "damaged", "line 1: no header line");
    if (m.damage.empty() && m.version != 0 && !m.path && !(m.files.empty() && !m.end)) {
      find(wire::kManifestName, "damaged", "line 2: no recording line");
    }
    if (m.end && !loaded_.root_matches) {
      find(wire::kManifestName, "damaged", "the root of the end line does not match the lines before it");
    }
    if (m.end) report_.root = m.end->root;
    if (m.end && m.chunk_count() == 0) {
      find(wire::kManifestName, "empty", "the recording was closed without a chunk");
    }
    if (!m.torn_tail) return;
    const std::string_view text = as_text(loaded_.bytes);
    if (wire::has_damaged_newline(text)) {
      const auto line = std::ranges::count(text, '\n') + 1;
      find(wire::kManifestName, "damaged", fmt::format("line {}: goes on after its end", line));
    } else {
      note(fmt::format("manifest: a torn tail of {} bytes, as a crash leaves it",
                       loaded_.bytes.size() - manifest().intact_bytes));
    }
  }

  void check_file(const wire::ManifestFile& file) {
    if (file.chunk) {
      ++report_.chunks;
      check_chunk(file);
    } else {
      check_init(file);
    }
    report_.bytes += file.bytes();
    // Behind a chunk that could not be read, the tracks' positions are unknown: no verdict on the step to the next one.
    if (file.chunk && lost_position_) tracks_.clear();
  }

  // Name, presence, length. Nothing when that is already a finding.
  std::unique_ptr<sys::File> open_listed(const wire::ManifestFile& file) {
    lost_position_ = true;
    auto opened = fs_.open_read(sys::join_path(directory_, file.name));
    if (!opened) {
      const bool missing = opened.error().kind == ErrorKind::not_found;
      find(file.name, missing ? "missing" : "unreadable", missing ? "listed, but not there" : opened.error().message);
      return nullptr;
    }
    const auto size = (*opened)->size();
    if (!size || *size != file.bytes()) {
      find(file.name, "damaged", size ? fmt::format("is {} bytes, not {}", *size, file.bytes()) : size.error().message);
      return nullptr;
    }
    return std::move(*opened);
  }

  // Reads it all, with `take` seeing each piece; false when it is not what the manifest says.
  template <class Take>
  bool read_listed(const wire::ManifestFile& file, sys::File& open, Take take) {
    digest::Sha256 hash;
    for (std::uint64_t offset = 0; offset < file.bytes();) {
      piece_.resize(kPieceBytes);
      const auto n = open.read_at(offset, piece_);
      if (!n || *n == 0) {
        find(file.name, "unreadable", n ? "became shorter while it was read" : n.error().message);
        return false;
      }
      hash.update(ByteView(piece_).first(*n));
      take(ByteView(piece_).first(*n));
      offset += *n;
      done_bytes_ += *n;
      if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    }
    if (hash.hex() == file.sha256) return true;
    find(file.name, "damaged", "its SHA-256 is not the listed one");
    return false;
  }

  void check_init(const wire::ManifestFile& file) {
    inits_[file.init ? file.init->number.value : 0] = std::nullopt;
    const auto open = open_listed(file);
    if (!open) return;
    if (file.bytes() > kMaxInitBytes) return find(file.name, "damaged", "is too large for an init segment");
    ByteBuffer bytes;
    if (!read_listed(file, *open, [&](ByteView piece) { append(bytes, piece); })) return;
    auto movie = mp4::parse_init(bytes);
    if (!movie) return find(file.name, "damaged", movie.error().message);
    if (file.init) compare_tracks(file, *movie);
    inits_[file.init ? file.init->number.value : 0] = std::move(bytes);
  }

  void compare_tracks(const wire::ManifestFile& file, const mp4::Movie& movie) {
    const auto same = [](const wire::TrackSummary& line, const wire::TrackSummary& track) {
      return line.id == track.id && line.kind == track.kind && line.timescale == track.timescale &&
             line.nominal_duration == track.nominal_duration;
    };
    if (!std::ranges::equal(file.init->tracks, summarise(movie), same)) {
      find(file.name, "damaged", "its tracks are not the ones that the manifest states");
    }
  }

  void check_chunk(const wire::ManifestFile& file) {
    const auto open = open_listed(file);
    if (!open) return;
    const auto init = inits_.find(file.chunk->init.value);
    if (init == inits_.end() || !init->second) {
      // The init's own finding says why; the chunk's bytes are still judged.
      (void)read_listed(file, *open, [](ByteView) {});
      return;
    }
    mp4::StreamParser parser;
    parser.push(*init->second);
    ChunkContent content;
    mp4::Movie movie;
    std::optional<Error> failed;
    std::vector<mp4::Sample> samples;
    const auto take = [&](ByteView piece) {
      parser.push(piece);
      while (!failed) {
        auto item = parser.next();
        if (!item) {
          failed = std::move(item).error();
        } else if (!*item) {
          return;
        } else if (auto* found = std::get_if<mp4::InitItem>(&**item)) {
          if (!movie.tracks.empty()) failed = Error{ErrorKind::damaged, "holds an init segment of its own", 0, {}};
          movie = std::move(found->movie);
        } else if (const auto* sample = std::get_if<mp4::SampleItem>(&**item)) {
          samples.push_back(sample->sample);
        }
      }
    };
    if (!read_listed(file, *open, take)) return;
    if (!failed && parser.finish().torn_bytes > 0) failed = Error{ErrorKind::damaged, "ends inside a box", 0, {}};
    if (failed) return find(file.name, "damaged", failed->message);
    lost_position_ = false;
    for (const mp4::Sample& sample : samples) check_sample(file, movie, sample, content);
    compare_chunk(file, movie, content);
    last_movie_ = std::move(movie);
  }

  void check_sample(const wire::ManifestFile& file, const mp4::Movie& movie, const mp4::Sample& sample,
                    ChunkContent& content) {
    const mp4::Track* track = movie.find(sample.track_id);
    if (track == nullptr)
      return find(file.name, "damaged", fmt::format("has samples of unknown track {}", sample.track_id));
    if (track->kind == mp4::TrackKind::video) {
      ++content.video;
      ++report_.video_frames;
      if (track == movie.reference() && !content.saw_picture) {
        content.saw_picture = true;
        if (!sample.sync && is_forced_cut(manifest(), file.chunk->number)) {
          note(fmt::format("{}: cut where there was no key frame, as its ledger says", file.name));
        } else if (!sample.sync) {
          find(file.name, "not-a-key-frame", "its first picture cannot be decoded alone");
        }
      }
    } else if (track->kind == mp4::TrackKind::audio) {
      ++content.audio;
      ++report_.audio_frames;
    }
    if (track == movie.reference()) {
      if (!content.reference_start) content.reference_start = sample.decode_time;
      content.reference_duration += sample.duration;
    }
    const auto known = tracks_.find(track->id);
    if (known != tracks_.end()) check_step(file, *track, known->second, sample, content);
    tracks_[track->id] = {sample.decode_time, sample.duration, file.name};
  }

  void check_step(const wire::ManifestFile& file, const mp4::Track& track, const TrackState& before,
                  const mp4::Sample& sample, ChunkContent& content) {
    if (sample.decode_time <= before.decode_time || sample.decode_time < before.decode_time + before.duration) {
      if (content.out_of_order) return;
      content.out_of_order = true;
      return find(file.name, "out-of-order",
                  fmt::format("track {}: decode time {} after one of {} that lasts {}", track.id, sample.decode_time,
                              before.decode_time, before.duration));
    }
    if (const auto hole = hole_between(track, before.decode_time, sample.decode_time))
      check_hole(file.name, track, *hole);
  }

  void check_hole(const std::string& name, const mp4::Track& track, const Hole& hole) {
    if (is_ledgered(manifest().gaps, track, hole)) return;
    find(name, "gap-unexplained",
         fmt::format("track {}: no gap line for {}/{} to {}/{}", track.id, hole.from, track.timescale, hole.to,
                     track.timescale));
  }

  // The last sample of all has no successor: its own duration must not hide a hole.
  void check_track_ends() {
    for (const auto& [id, state] : tracks_) {
      const mp4::Track* track = last_movie_.find(id);
      if (track == nullptr) continue;
      if (const auto hole = hole_between(*track, state.decode_time, state.decode_time + state.duration)) {
        check_hole(state.chunk, *track, *hole);
      }
    }
  }

  void compare_chunk(const wire::ManifestFile& file, const mp4::Movie& movie, const ChunkContent& content) {
    const wire::ChunkLine& line = *file.chunk;
    if (content.video != line.video || content.audio != line.audio) {
      find(file.name, "wrong-count",
           fmt::format("holds {} pictures and {} sound frames, the manifest states {} and {}", content.video,
                       content.audio, line.video, line.audio));
    }
    const mp4::Track* reference = movie.reference();
    if (reference == nullptr || !content.reference_start) return;
    const MediaTime start{static_cast<std::int64_t>(*content.reference_start), reference->timescale};
    const MediaTime duration{static_cast<std::int64_t>(content.reference_duration), reference->timescale};
    if (start != line.start || duration != line.duration) {
      find(file.name, "wrong-time",
           fmt::format("begins at {}/{} and lasts {}/{}, the manifest states {}/{} and {}/{}", start.ticks,
                       start.timescale, duration.ticks, duration.timescale, line.start.ticks, line.start.timescale,
                       line.duration.ticks, line.duration.timescale));
    }
  }

  Status check_directory() {
    MC_TRY_ASSIGN(const auto entries, fs_.list(directory_));
    std::set<std::string_view> listed;
    for (const wire::ManifestFile& file : manifest().files) listed.insert(file.name);
    for (const sys::DirectoryEntry& entry : entries) {
      if (entry.name.starts_with('.') || listed.contains(entry.name)) continue;
      const auto parsed = wire::parse_file_name(entry.name);
      if (!parsed || entry.type != sys::FileType::file) {
        note(fmt::format("{}: not a file of a recording", entry.name));
      } else if (parsed->kind == wire::FileKind::receipt) {
        check_receipt_file(entry.name);
      } else if (parsed->kind != wire::FileKind::manifest) {
        note(fmt::format("{}: not in the manifest{}", entry.name,
                         report_.closed ? "" : "; mc-spool recover adopts it when it is whole"));
      }
    }
    return {};
  }

  void check_receipt_file(const std::string& name) {
    const auto bytes = sys::read_file(fs_, sys::join_path(directory_, name), wire::kMaxReceiptBytes);
    if (!bytes) return find(name, "unreadable", bytes.error().message);
    ReceiptJudgement judged = judge_receipt(name, as_text(*bytes), &loaded_, options_.keys);
    if (judged.finding) return report_.findings.push_back(std::move(*judged.finding));
    if (judged.is_signed) return report_.receipts.push_back(judged.receipt.key_fingerprint);
    note(fmt::format("{}: content right, signature not checked without its key", name));
  }

  sys::FileSystem& fs_;
  const std::string& directory_;
  const VerifyOptions& options_;
  LoadedManifest loaded_;
  VerifyReport report_;
  std::map<std::uint32_t, std::optional<ByteBuffer>> inits_;  // by number; nothing: not usable
  std::map<std::uint32_t, TrackState> tracks_;
  mp4::Movie last_movie_;
  bool lost_position_ = false;
  ByteBuffer piece_;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace

Result<VerifyReport> verify_recording(sys::FileSystem& fs, const std::string& directory, const VerifyOptions& options) {
  MC_TRY_ASSIGN(LoadedManifest loaded, load_manifest(fs, directory));
  return Verifier(fs, directory, options, std::move(loaded)).run();
}

}  // namespace mc::spool
