// Every state that a crash may leave of a session's document while it is swapped (never-lose L16, L17): afterwards the
// last document whose swap was answered is there, or the one behind it; whole; and no stage. Also without the syncs,
// where this must be seen to go wrong.
#include <gtest/gtest.h>

#include <set>

#include "base/log.hpp"
#include "crash/sim_file_system.hpp"
#include "store/file_store.hpp"

namespace mc::crash {
namespace {

constexpr char kDocumentRoot[] = "store";
constexpr int kSwaps = 4;

// More than a sector, so that it can be torn.
std::string document(int version) {
  return std::string(700, static_cast<char>('a' + version)) + std::to_string(version);
}

OpLog swap_all() {
  SimFileSystem fs;
  const auto store = store::FileStore::open(fs, kDocumentRoot, no_log(), store::FileStore::Locking::none).value();
  for (int version = 1; version <= kSwaps; ++version) {
    const auto held = store->read_document("studio-a").value();
    const auto expected = held ? std::optional(held->token) : std::nullopt;
    EXPECT_TRUE(store->swap_document("studio-a", expected, document(version)).value());
    fs.acknowledge(static_cast<std::uint64_t>(version));
  }
  return fs.log();
}

// What is wrong after the crash; empty: nothing.
std::string look(const OpLog& log, const Choice& choice) {
  int answered = 0;
  for (std::size_t i = 0; i < choice.length; ++i) {
    if (const auto* answer = std::get_if<AcknowledgeOp>(&log[i])) answered = static_cast<int>(answer->frames);
  }
  SimFileSystem left = SimFileSystem::after_crash(log, choice);
  const auto store = store::FileStore::open(left, kDocumentRoot, no_log(), store::FileStore::Locking::none);
  if (!store) return "the store cannot be opened: " + store.error().message;
  const auto held = (*store)->read_document("studio-a");
  if (!held) return "the document cannot be read: " + held.error().message;
  for (const auto& [path, bytes] : left.tree()) {
    if (path.find(".stage-") != std::string::npos) return "'" + path + "' was not discarded";
  }
  if (!*held) return answered == 0 ? "" : "an answered document is gone";
  for (int version = std::max(answered, 1); version <= std::min(answered + 1, kSwaps); ++version) {
    if ((*held)->text == document(version)) return {};
  }
  return "the document is none that it may be after " + std::to_string(answered) + " answers";
}

// All states of the log, and what is wrong with the first bad one.
std::string explore(const OpLog& log, std::size_t& states) {
  std::set<std::uint64_t> seen;
  std::string finding;
  const auto attempt = [&](const Choice& choice) {
    seen.insert(SimFileSystem::after_crash(log, choice).tree_hash() + choice.length);
    if (finding.empty()) finding = look(log, choice);
  };
  for (std::size_t length = 0; length <= log.size() && finding.empty(); ++length) {
    const auto free = SimFileSystem::unsynced(log, length);
    const std::size_t subsets = std::size_t{1} << std::min<std::size_t>(free.size(), 10);
    for (std::size_t set = 0; set < subsets && finding.empty(); ++set) {
      Choice choice{length, {}, 0};
      for (std::size_t i = 0; i < free.size(); ++i) {
        if (i >= 10 || (set >> i & 1) != 0) choice.unsynced[free[i]] = Fate::lost;
      }
      attempt(choice);
      for (const std::size_t i : free) {
        if (!std::holds_alternative<WriteOp>(log[i])) continue;
        for (const Fate fate : {Fate::torn, Fate::zeros, Fate::holed}) {
          Choice torn = choice;
          torn.unsynced[i] = fate;
          torn.torn_sectors = fate == Fate::holed ? 0 : 1;
          attempt(torn);
        }
      }
    }
  }
  states = seen.size();
  return finding;
}

TEST(DocumentCrashStates, WhatWasAnsweredIsThereOrWhatCameBehindIt) {
  const OpLog log = swap_all();
  std::size_t states = 0;
  EXPECT_EQ(explore(log, states), "");
  std::printf("%d swaps, %zu operations, %zu distinct states\n", kSwaps, log.size(), states);
  EXPECT_GT(states, 50U);
}

TEST(DocumentCrashStates, WithoutTheSyncsOfFilesOrOfDirectoriesItIsFound) {
  OpLog no_file_sync = swap_all(), no_directory_sync = no_file_sync;
  EXPECT_GT(std::erase_if(no_file_sync, [](const Op& op) { return std::holds_alternative<SyncOp>(op); }), 0U);
  EXPECT_GT(std::erase_if(no_directory_sync, [](const Op& op) { return std::holds_alternative<SyncDirectoryOp>(op); }),
            0U);
  std::size_t states = 0;
  EXPECT_NE(explore(no_file_sync, states), "");
  EXPECT_NE(explore(no_directory_sync, states), "");
}

}  // namespace
}  // namespace mc::crash
