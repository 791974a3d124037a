#include "crash/explorer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/recording.hpp"
#include "spool/recovery.hpp"

namespace mc::crash {
namespace {

constexpr std::size_t kKillEvery = 12;  // of the states that were checked
constexpr std::size_t kGoOnEvery = 40;
constexpr std::size_t kSectorsPerWrite = 6;
constexpr std::size_t kPagesPerWrite = 12;

bool is_data(const Op& op) { return std::holds_alternative<WriteOp>(op) || std::holds_alternative<TruncateOp>(op); }

// By the rarest thing that happened.
CrashClass class_of(const OpLog& log, const Choice& choice) {
  bool name = false, torn = false, zeros = false, dropped = false;
  for (const auto& [i, fate] : choice.unsynced) {
    if (fate == Fate::kept) continue;
    if (std::holds_alternative<RenameOp>(log[i])) return CrashClass::rename_lost;
    if (!is_data(log[i])) {
      name = true;
    } else if (fate == Fate::torn) {
      torn = true;
    } else if (fate == Fate::zeros) {
      zeros = true;  // a hole is data that was dropped
    } else {
      dropped = true;
    }
  }
  if (name) return CrashClass::name_lost;
  if (zeros) return CrashClass::zeros;
  if (torn) return CrashClass::torn;
  return dropped ? CrashClass::data_dropped : CrashClass::prefix;
}

std::size_t acknowledged_by(const Recorded& recorded, const OpLog& log, std::size_t length) {
  for (std::size_t i = length; i-- > 0;) {
    if (const auto* op = std::get_if<AcknowledgeOp>(&log[i])) return op->frames;
  }
  return recorded.acknowledged_before;
}

// The frames of a recovered recording; nothing when a file is not what the manifest says, or bytes are no frame's.
std::optional<std::map<std::uint32_t, std::vector<std::uint64_t>>> frames_of(SimFileSystem& fs,
                                                                             const wire::Manifest& manifest) {
  std::map<std::uint32_t, std::vector<std::uint64_t>> frames;
  ByteBuffer init;
  for (const auto& file : manifest.files) {
    const auto bytes = sys::read_file(fs, sys::join_path(kDirectory, file.name), 1U << 24U);
    if (!bytes || digest::sha256_hex(*bytes) != file.sha256) return std::nullopt;
    if (file.init) {
      init = *bytes;
      continue;
    }
    mp4::StreamParser parser;
    parser.push(init);
    parser.push(*bytes);
    for (;;) {
      auto item = parser.next();
      if (!item) return std::nullopt;
      if (!*item) break;
      const auto* sample = std::get_if<mp4::SampleItem>(&**item);
      if (sample == nullptr) continue;
      const Frame frame{sample->sample.track_id, sample->sample.decode_time};
      if (!is_frame(frame, sample->data)) return std::nullopt;
      frames[frame.track].push_back(frame.decode_time);
    }
  }
  return frames;
}

}  // namespace

const char* name(CrashClass kind) {
  constexpr const char* kNames[] = {"prefix",    "data dropped", "torn at a sector", "grown with zeros",
                                    "name lost", "rename lost",  "recovery killed"};
  return kNames[static_cast<std::size_t>(kind)];
}

bool Explorer::enough() const {
  return seen_.size() >= options_.states &&
         std::ranges::all_of(counts_, [&](std::size_t count) { return count >= options_.per_class; });
}

std::string Explorer::table() const {
  std::string text;
  for (std::size_t i = 0; i < kCrashClasses; ++i) {
    text += fmt::format("{:<17}{:>9}\n", name(static_cast<CrashClass>(i)), counts_[i]);
  }
  return text + fmt::format("{:<17}{:>9} distinct states\n", "all", seen_.size());
}

void Explorer::explore(const Recorded& recorded, const OpLog& log, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (std::size_t length = 0; length <= log.size() && !stop(); ++length) {
    try_state(recorded, log, {length, {}, 0});
    const auto free = SimFileSystem::unsynced(log, length);
    if (free.empty()) continue;
    Choice all{length, {}, 0};
    for (const std::size_t i : free) all.unsynced[i] = Fate::lost;
    try_state(recorded, log, all);
    for (const std::size_t i : free) {
      try_state(recorded, log, {length, {{i, Fate::lost}}, 0});
      const auto* write = std::get_if<WriteOp>(&log[i]);
      if (write == nullptr) continue;
      try_state(recorded, log, {length, {{i, Fate::zeros}}, 0});
      for (std::size_t page = 0; page <= write->bytes.size() / kPageBytes && page < kPagesPerWrite; ++page) {
        try_state(recorded, log, {length, {{i, Fate::holed}}, static_cast<std::uint32_t>(page)});
      }
      const std::size_t sectors = write->bytes.size() / kSectorBytes + 1;
      for (std::size_t n = 0; n < std::min(sectors, kSectorsPerWrite); ++n) {
        const auto at = static_cast<std::uint32_t>(sectors <= kSectorsPerWrite ? n : random() % sectors);
        try_state(recorded, log, {length, {{i, Fate::torn}}, at});
        try_state(recorded, log, {length, {{i, Fate::zeros}}, at});
      }
    }
    mix(recorded, log, length, free, random);
  }
}

// Names that are lost while data is in any state; the more operations are unsynced the more there is to mix.
void Explorer::mix(const Recorded& recorded, const OpLog& log, std::size_t length, const std::vector<std::size_t>& free,
                   std::mt19937& random) {
  if (free.size() < 2) return;
  for (std::size_t round = 0; round < 6 * free.size(); ++round) {
    Choice mixed{length, {}, static_cast<std::uint32_t>(random() % 12)};
    for (const std::size_t i : free) mixed.unsynced[i] = static_cast<Fate>(random() % (is_data(log[i]) ? 5 : 2));
    try_state(recorded, log, mixed);
  }
}

void Explorer::try_state(const Recorded& recorded, const OpLog& log, const Choice& choice) {
  const Case c{recorded, log, choice, class_of(log, choice)};
  if (stop() || has_most(c.kind)) return;
  SimFileSystem left = SimFileSystem::replay(recorded.start, log, choice);
  const std::uint64_t tree = left.tree_hash();
  const std::size_t acknowledged = acknowledged_by(recorded, log, choice.length);
  if (seen_.insert(tree).second) ++counts_[static_cast<std::size_t>(c.kind)];
  if (!tried_.insert(tree ^ (acknowledged * 0x9E3779B97F4A7C15ULL)).second) return;
  ++checked_;
  if (!recover(left)) {
    if (acknowledged > 0) complain(c, "recovery failed: " + last_error_);
    return;
  }
  check(c, left, acknowledged);
  if (checked_ % kKillEvery == 0 && !has_most(CrashClass::recovery_killed)) kill_recovery(c, left.tree_hash());
  if (checked_ % kGoOnEvery == 0) go_on(c, std::move(left));
}

void Explorer::complain(const Case& c, const std::string& what) {
  if (findings_.size() >= options_.max_findings) return;
  findings_.push_back(
      fmt::format("{}: crash behind operation {} of {}: {}", name(c.kind), c.choice.length, c.log.size(), what));
}

bool Explorer::recover(SimFileSystem& fs) {
  if (!fs.info(kDirectory)) return true;  // not even the directory: the check finds it when something was acknowledged
  const auto wrapped = options_.recovery_wrap ? options_.recovery_wrap(fs) : nullptr;
  sys::FileSystem& seen = wrapped ? *wrapped : static_cast<sys::FileSystem&>(fs);
  const auto state = spool::recover_recording(seen, kDirectory, no_log());
  if (!state) last_error_ = state.error().message;
  if (state && state->orphans > 0) last_error_ = "a file lost its lines in the manifest, and its journal is gone";
  return state && state->orphans == 0;
}

void Explorer::check(const Case& c, SimFileSystem& left, std::size_t acknowledged) {
  const auto loaded = spool::load_manifest(left, kDirectory);
  if (!loaded) {
    if (acknowledged > 0) complain(c, "acknowledged frames, but no manifest");
    return;
  }
  if (!loaded->manifest.damage.empty()) return complain(c, loaded->manifest.damage.front().what);
  // Recovery would make a manifest anew from the files, but nobody knows the old id then.
  if (acknowledged > 0 && loaded->manifest.recording_id != kRecordingId) {
    return complain(c, "acknowledged frames, but no manifest of that recording");
  }
  const auto frames = frames_of(left, loaded->manifest);
  if (!frames) return complain(c, "a listed file is missing, or has not the bytes that it should");
  std::map<std::uint32_t, std::size_t> next;
  for (std::size_t i = 0; i < acknowledged; ++i) {
    const Frame& frame = c.recorded.acknowledged[i];
    const auto found = frames->find(frame.track);
    std::size_t& at = next[frame.track];
    if (found == frames->end() || at >= found->second.size() || found->second[at] != frame.decode_time) {
      return complain(c, fmt::format("frame {} of {} that were acknowledged is lost", i, acknowledged));
    }
    ++at;
  }
  const auto report = spool::verify_recording(left, kDirectory, {});
  if (!report) return complain(c, report.error().message);
  if (!report->findings.empty()) {
    return complain(c, report->findings.front().name + ": " + report->findings.front().detail);
  }
  const auto before = left.tree();
  if (!recover(left) || left.tree() != before) complain(c, "a second recovery changes something");
}

// The same crash, with recovery killed behind each of its operations, and not killed at all but followed by a power
// cut.
void Explorer::kill_recovery(const Case& c, std::uint64_t wanted) {
  for (std::size_t n = 0; findings_.size() < options_.max_findings; ++n) {
    SimFileSystem left = SimFileSystem::replay(c.recorded.start, c.log, c.choice);
    left.die_after(n);
    const bool finished = recover(left);
    if (!finished && !left.died()) return;
    // Killed, not cut off from power: what it did is there. Then the power goes as well, and what is unsynced is lost.
    for (const bool power : {false, true}) {
      Choice again{left.log().size(), {}, 0};
      if (power) {
        for (const std::size_t i : SimFileSystem::unsynced(left.log(), left.log().size()))
          again.unsynced[i] = Fate::lost;
      }
      SimFileSystem resumed =
          SimFileSystem::replay(SimFileSystem::replay(c.recorded.start, c.log, c.choice), left.log(), again);
      if (seen_.insert(resumed.tree_hash()).second) ++counts_[static_cast<std::size_t>(CrashClass::recovery_killed)];
      const Case killed{c.recorded, c.log, c.choice, CrashClass::recovery_killed};
      if (!recover(resumed)) {
        complain(killed, "it cannot be run again: " + last_error_);
      } else if (resumed.tree_hash() != wanted) {
        complain(killed, fmt::format("it ends otherwise when {} behind its operation {}",
                                     power ? "the power fails" : "killed", n));
      }
    }
    if (finished) return;
  }
}

void Explorer::go_on(const Case& c, SimFileSystem left) {
  const auto loaded = spool::load_manifest(left, kDirectory);
  if (!loaded || loaded->manifest.end) return;
  const std::uint32_t before = loaded->manifest.chunk_count();
  if (const Status status = continue_and_close(left, c.recorded.picture); !status)
    return complain(c, status.error().message);
  const auto report = spool::verify_recording(left, kDirectory, {});
  if (!report) return complain(c, report.error().message);
  if (!report->findings.empty()) return complain(c, "continued: " + report->findings.front().detail);
  if (!report->closed || report->chunks != before + 1) complain(c, "continued, it has not one chunk more");
}

}  // namespace mc::crash
