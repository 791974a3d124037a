// Every state that a crash may leave of a file store to which several clients upload at once (never-lose L3, L8, L14;
// house style "Crash"), and the planted bugs that this must find. Of each state is asked, after the store was opened
// again: what was answered is there, byte for byte; whatever has a visible name is one of the whole files that were
// sent under it, in a recording that is bound; no stage is left; everything can be sent again; a second opening changes
// nothing. And before it was opened: of an upload that broke off, as much as its client was told is there, if anything.
//
// MC_CRASH_STATES sets how many distinct states are looked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "base/log.hpp"
#include "crash/store_uploads.hpp"
#include "digest/sha256.hpp"
#include "store/binding.hpp"

namespace mc::crash {
namespace {

std::size_t wanted_states() {
  const char* text = std::getenv("MC_CRASH_STATES");
  return text == nullptr ? 20'000 : std::strtoull(text, nullptr, 10);
}

std::string file_of(const Upload& upload) {
  return std::string(kStoreRoot) + "/" + upload.path.text() + "/" + upload.name;
}

class StoreExplorer {
 public:
  explicit StoreExplorer(std::size_t wanted, StoreMutant mutant = StoreMutant::none)
      : wanted_(wanted), mutant_(mutant) {}

  std::size_t distinct() const { return seen_.size(); }
  std::size_t checked() const { return checked_; }
  std::size_t stages_found() const { return stages_found_; }
  std::size_t answered() const { return answered_; }
  std::size_t announced() const { return announced_; }
  std::size_t parts_found() const { return parts_found_; }
  const std::string& finding() const { return finding_; }
  bool stop() const { return !finding_.empty() || seen_.size() >= wanted_; }

  void explore(const Uploaded& uploaded, std::uint32_t seed) {
    std::mt19937 random(seed);
    const OpLog& log = uploaded.log;
    // Many schedules rather than all of a few: their interleaving is what differs.
    const std::size_t most = seen_.size() + std::max<std::size_t>(wanted_ / 30, 1000);
    const std::size_t step = seed % 3 + 1;
    for (std::size_t length = seed % step; length <= log.size() && !stop() && seen_.size() < most; length += step) {
      try_state(uploaded, {length, {}, 0});
      const auto free = SimFileSystem::unsynced(log, length);
      if (free.empty()) continue;
      Choice all{length, {}, 0};
      for (const std::size_t i : free) all.unsynced[i] = Fate::lost;
      try_state(uploaded, all);
      for (const std::size_t i : free) {
        try_state(uploaded, {length, {{i, Fate::lost}}, 0});
        Choice alone = all;
        alone.unsynced.erase(i);
        try_state(uploaded, alone);
        if (!std::holds_alternative<WriteOp>(log[i])) continue;
        const auto sector = static_cast<std::uint32_t>(random() % 6);
        for (const Fate fate : {Fate::torn, Fate::zeros, Fate::holed}) {
          try_state(uploaded, {length, {{i, fate}}, fate == Fate::holed ? 0 : sector});
        }
      }
      for (std::size_t round = 0; round < 2 * free.size(); ++round) {
        Choice mixed{length, {}, static_cast<std::uint32_t>(random() % 6)};
        for (const std::size_t i : free) {
          mixed.unsynced[i] = static_cast<Fate>(random() % (std::holds_alternative<WriteOp>(log[i]) ? 5 : 2));
        }
        try_state(uploaded, mixed);
      }
    }
  }

 private:
  Result<std::unique_ptr<store::FileStore>> open(SimFileSystem& fs) {
    planted_ = plant(mutant_, fs);
    sys::FileSystem& seen = mutant_ == StoreMutant::stages_not_discarded ? *planted_ : fs;
    return store::FileStore::open(seen, kStoreRoot, no_log(), store::FileStore::Locking::none);
  }

  void complain(const Uploaded& uploaded, const Choice& choice, const std::string& what) {
    if (!finding_.empty()) return;
    finding_ = what + "; crash behind operation " + std::to_string(choice.length) + " of " +
               std::to_string(uploaded.log.size()) + ", with";
    for (const auto& [i, fate] : choice.unsynced) {
      if (fate != Fate::kept) finding_ += " " + std::to_string(i);
    }
    finding_ += " lost or torn";
  }

  void try_state(const Uploaded& uploaded, const Choice& choice) {
    if (stop()) return;
    std::vector<std::uint64_t> answers;
    for (std::size_t i = 0; i < choice.length; ++i) {
      if (const auto* answer = std::get_if<AcknowledgeOp>(&uploaded.log[i])) answers.push_back(answer->frames);
    }
    SimFileSystem left = SimFileSystem::after_crash(uploaded.log, choice);
    const std::uint64_t tree = left.tree_hash();
    seen_.insert(tree);
    if (!tried_.insert(tree ^ (answers.size() * 0x9E3779B97F4A7C15ULL)).second) return;
    ++checked_;
    answered_ += answers.size();
    check_announced(uploaded, choice, left.tree(), answers);
    for (const auto& [path, bytes] : left.tree()) stages_found_ += path.find("/.stage-") != std::string::npos ? 1U : 0U;
    check(uploaded, choice, left, answers);
  }

  // The name of a part may be lost with the power, for a part is not kept beyond the end of the server. What its client
  // was told may not: the server would go on from there, had it only been killed.
  void check_announced(const Uploaded& uploaded, const Choice& choice, const std::map<std::string, ByteBuffer>& files,
                       const std::vector<std::uint64_t>& answers) {
    for (const std::uint64_t answer : answers) {
      if (answer < kAnnounced) continue;
      const Announced& told = uploaded.announced[answer - kAnnounced];
      ++announced_;
      const auto part = files.find(told.stage);
      if (part == files.end()) continue;
      const ByteView sent(uploaded.uploads[told.upload].bytes);
      const auto length = static_cast<std::size_t>(told.offset);
      if (part->second.size() < length ||
          as_text(ByteView(part->second).first(length)) != as_text(sent.first(length))) {
        complain(uploaded, choice,
                 "the offset " + std::to_string(length) + " was told, and '" + told.stage + "' does not have it");
      }
      ++parts_found_;
    }
  }

  void check(const Uploaded& uploaded, const Choice& choice, SimFileSystem& left,
             const std::vector<std::uint64_t>& answers) {
    const auto bad = [&](const std::string& what) { complain(uploaded, choice, what); };
    auto opened = open(left);
    if (!opened) return bad("the store cannot be opened: " + opened.error().message);
    const auto files = left.tree();
    check_files(uploaded, files, **opened, bad);
    for (const std::uint64_t answer : answers) {
      if (answer >= kAnnounced) continue;
      const Upload& upload = uploaded.uploads[answer % kConflict];
      if (answer >= kConflict) {
        const std::string kept = digest::to_hex(digest::sha256(upload.bytes)).substr(0, 16);
        const auto slash = file_of(upload).rfind('/') + 1;
        if (!files.contains(file_of(upload).insert(slash, ".conflict-") + "-" + kept)) bad("a conflict is not kept");
        continue;
      }
      const auto found = files.find(file_of(upload));
      if (found == files.end()) {
        bad("'" + file_of(upload) + "' was answered and is missing");
      } else if (!as_text(found->second).starts_with(as_text(upload.bytes)) ||
                 (upload.name != wire::kManifestName && found->second != upload.bytes)) {
        bad("'" + file_of(upload) + "' was answered and is different");
      }
    }
    if (!finding_.empty()) return;

    for (const Upload& upload : uploaded.uploads) {
      const bool is_old_manifest = upload.name == wire::kManifestName && upload.bytes.size() == 300;
      const auto answer = put(**opened, upload);
      if (!answer) return bad("an upload cannot be sent again: " + answer.error().message);
      if (*answer == Answer::none && !upload.given_up) bad("an upload that is sent again gets no answer");
      if (upload.given_up || is_old_manifest) continue;
      if (!left.tree().contains(file_of(upload))) bad("an upload that was sent again is not there");
    }
    const auto end = left.tree();
    check_files(uploaded, end, **opened, bad);
    opened->reset();
    auto again = open(left);
    if (!again || left.tree() != end) bad("a second opening changes something");
  }

  template <class Bad>
  void check_files(const Uploaded& uploaded, const std::map<std::string, ByteBuffer>& files, store::Store& store,
                   const Bad& bad) {
    for (const auto& file : files) {
      const std::string& path = file.first;
      const ByteBuffer& bytes = file.second;
      if (path.find("/.stage-") != std::string::npos) bad("'" + path + "' was not discarded");
      const bool is_hidden = path[path.rfind('/') + 1] == '.';
      if (is_hidden) continue;
      const auto sent = std::ranges::find_if(uploaded.uploads, [&](const Upload& upload) {
        return !upload.given_up && file_of(upload) == path && upload.bytes == bytes;
      });
      if (sent == uploaded.uploads.end()) {
        bad("'" + path + "' is nothing that was sent");
        continue;
      }
      const auto bound = store::binding(store, sent->path);
      if (!bound || *bound != sent->recording_id) bad("'" + path + "' lies in a recording that is not bound");
    }
  }

  std::size_t wanted_;
  StoreMutant mutant_;
  std::unique_ptr<sys::FileSystem> planted_;
  std::set<std::uint64_t> seen_;
  std::set<std::uint64_t> tried_;
  std::size_t checked_ = 0;
  std::size_t stages_found_ = 0;
  std::size_t answered_ = 0;
  std::size_t announced_ = 0, parts_found_ = 0;
  std::string finding_;
};

TEST(StoreCrashStates, EverythingThatWasAnsweredIsFoundAgain) {
  StoreExplorer explorer(wanted_states());
  std::uint64_t asked = 0, synced = 0;
  std::uint32_t schedules = 0;
  for (; schedules < 2000 && !explorer.stop(); ++schedules) {
    const Uploaded uploaded = upload_all(schedules);
    asked += uploaded.commits.asked;
    synced += uploaded.commits.synced;
    explorer.explore(uploaded, schedules);
  }
  std::printf(
      "%u schedules of 6 clients, %zu distinct states, %zu checked with %zu answers, %zu stages in them, "
      "%zu offsets told with %zu of the parts there; %llu commits by %llu directory syncs\n",
      schedules, explorer.distinct(), explorer.checked(), explorer.answered(), explorer.stages_found(),
      explorer.announced(), explorer.parts_found(), static_cast<unsigned long long>(asked),
      static_cast<unsigned long long>(synced));
  EXPECT_EQ(explorer.finding(), "");
  EXPECT_GE(explorer.distinct(), wanted_states()) << "not so many states";
  EXPECT_GT(explorer.parts_found(), 0U);
  EXPECT_LT(synced, asked) << "no group commit happened, so none was tested";
}

TEST(StoreSchedules, AreRepeatedByTheirSeedAndDifferByIt) {
  const auto shape = [](const OpLog& log) {
    std::string text;
    for (const Op& op : log) {
      text += std::to_string(op.index());
      if (const auto* answer = std::get_if<AcknowledgeOp>(&op)) text += "(" + std::to_string(answer->frames) + ")";
      if (const auto* rename = std::get_if<RenameOp>(&op)) text += "(" + rename->to + ")";
    }
    return text;
  };
  std::set<std::string> all;
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    const std::string once = shape(upload_all(seed).log);
    EXPECT_EQ(shape(upload_all(seed).log), once) << seed;
    all.insert(once);
  }
  EXPECT_EQ(all.size(), 5U);
}

class StorePlantedBug : public testing::TestWithParam<StoreMutant> {};

TEST_P(StorePlantedBug, IsFound) {
  StoreExplorer explorer(100'000, GetParam());
  for (std::uint32_t seed = 0; seed < 40 && explorer.finding().empty(); ++seed) {
    explorer.explore(upload_all(seed, GetParam()), seed);
  }
  ASSERT_FALSE(explorer.finding().empty()) << "the mutant survived " << explorer.distinct() << " states";
  std::printf("found after %zu states: %s\n", explorer.distinct(), explorer.finding().c_str());
}

INSTANTIATE_TEST_SUITE_P(Each, StorePlantedBug, testing::ValuesIn(kStoreMutants),
                         [](const auto& mutant) { return std::string(name(mutant.param)); });

}  // namespace
}  // namespace mc::crash
