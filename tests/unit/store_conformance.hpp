// What every Store promises, as one suite for all of them:
//
//   struct FileStoreUnderTest { std::unique_ptr<store::Store> store(); … };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Files, StoreConformance, FileStoreUnderTest);
//
// `Fixture::store()` gives the store on empty ground; `reopen()` what a new process would see after this one died.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "digest/sha256.hpp"
#include "store/binding.hpp"
#include "store/held_index.hpp"
#include "store/store.hpp"
#include "wire/manifest.hpp"

namespace mc::store {

inline const wire::RecordingPath kAlice{"studio-a", "001", "alice"};
inline constexpr char kChunk[] = "chunk_000001.m4s";

template <class Fixture>
class StoreConformance : public ::testing::Test {
 protected:
  Store& store() { return fixture_.store(); }
  void reopen() { fixture_.reopen(); }

  PutOutcome put(const wire::RecordingPath& path, const std::string& name, std::string_view text,
                 OnConflict on_conflict = OnConflict::quarantine) {
    auto staged = store().stage(path, name);
    EXPECT_TRUE(staged) << staged.error().message;
    EXPECT_TRUE((*staged)->write(as_bytes(text)));
    const auto outcome = (*staged)->publish(on_conflict);
    EXPECT_TRUE(outcome) << outcome.error().message;
    return outcome.value_or(PutOutcome::conflict);
  }
  std::string get(const wire::RecordingPath& path, const std::string& name) {
    const auto object = store().open(path, name);
    if (!object) return std::string("error: ") + mc::name(object.error().kind);
    const auto bytes = read_object(**object, 1U << 24);
    return bytes ? std::string(as_text(*bytes)) : "unreadable";
  }
  std::vector<std::string> names(const wire::RecordingPath& path) {
    std::vector<std::string> found;
    const auto listed = store().list(path);
    if (!listed) return {std::string("error: ") + mc::name(listed.error().kind)};
    for (const ObjectInfo& info : *listed) found.push_back(info.name);
    return found;
  }

  Fixture fixture_;
};
TYPED_TEST_SUITE_P(StoreConformance);

using Names = std::vector<std::string>;

TYPED_TEST_P(StoreConformance, WhatWasPutIsThereAlsoAfterARestart) {
  EXPECT_EQ(this->put(kAlice, kChunk, "media"), PutOutcome::created);
  EXPECT_EQ(this->get(kAlice, kChunk), "media");
  this->reopen();
  EXPECT_EQ(this->get(kAlice, kChunk), "media");
  EXPECT_EQ(this->names(kAlice), Names{kChunk});
}

TYPED_TEST_P(StoreConformance, HashIsThatOfWhatWasWritten) {
  auto staged = this->store().stage(kAlice, kChunk).value();
  ASSERT_TRUE(staged->write(as_bytes("me")));
  ASSERT_TRUE(staged->write(as_bytes("")));
  ASSERT_TRUE(staged->write(as_bytes("dia")));
  EXPECT_EQ(staged->sha256(), digest::sha256_hex(as_bytes("media")));
  EXPECT_EQ(staged->size_bytes(), 5U);
  EXPECT_EQ(as_text(staged->read_back(100).value()), "media");
  EXPECT_FALSE(staged->read_back(4));
}

TYPED_TEST_P(StoreConformance, TheSameBytesAgainAreTheSame) {
  this->put(kAlice, kChunk, "media");
  EXPECT_EQ(this->put(kAlice, kChunk, "media"), PutOutcome::same);
  EXPECT_EQ(this->get(kAlice, kChunk), "media");
}

TYPED_TEST_P(StoreConformance, OtherBytesNeverReplaceWhatIsThere) {
  this->put(kAlice, kChunk, "media");
  EXPECT_EQ(this->put(kAlice, kChunk, "other"), PutOutcome::conflict);
  EXPECT_EQ(this->put(kAlice, kChunk, "other"), PutOutcome::conflict);
  EXPECT_EQ(this->put(kAlice, kChunk, "third", OnConflict::discard), PutOutcome::conflict);
  EXPECT_EQ(this->get(kAlice, kChunk), "media");
  const std::string kept = std::string(".conflict-") + kChunk + "-";
  EXPECT_EQ(this->get(kAlice, kept + digest::sha256_hex(as_bytes("other")).substr(0, 16)), "other");
  EXPECT_EQ(this->get(kAlice, kept + digest::sha256_hex(as_bytes("third")).substr(0, 16)), "error: not-found");
  EXPECT_EQ(this->names(kAlice), Names{kChunk});
}

TYPED_TEST_P(StoreConformance, WhatWasNotPublishedLeavesNothing) {
  {
    auto staged = this->store().stage(kAlice, kChunk).value();
    ASSERT_TRUE(staged->write(as_bytes("media")));
    EXPECT_EQ(this->get(kAlice, kChunk), "error: not-found");
  }
  EXPECT_EQ(this->get(kAlice, kChunk), "error: not-found");
  EXPECT_EQ(this->names(kAlice), Names{"error: not-found"});
}

TYPED_TEST_P(StoreConformance, EmptyFilesAreFiles) {
  EXPECT_EQ(this->put(kAlice, kChunk, ""), PutOutcome::created);
  EXPECT_EQ(this->get(kAlice, kChunk), "");
  EXPECT_EQ(this->put(kAlice, kChunk, ""), PutOutcome::same);
}

TYPED_TEST_P(StoreConformance, RecordingsDoNotSeeEachOther) {
  const wire::RecordingPath bob{"studio-a", "001", "bob"};
  const wire::RecordingPath later{"studio-a", "002", "alice"};
  this->put(kAlice, kChunk, "a");
  this->put(bob, kChunk, "b");
  this->put(later, kChunk, "c");
  EXPECT_EQ(this->get(kAlice, kChunk), "a");
  EXPECT_EQ(this->get(bob, kChunk), "b");
  EXPECT_EQ(this->get(later, kChunk), "c");
}

TYPED_TEST_P(StoreConformance, NamesInAnyScriptWork) {
  const wire::RecordingPath path{"スタジオ", "001", "アリス ~2"};
  EXPECT_EQ(this->put(path, kChunk, "media"), PutOutcome::created);
  this->reopen();
  EXPECT_EQ(this->get(path, kChunk), "media");
}

TYPED_TEST_P(StoreConformance, ListingIsSortedAndShowsFilesOfARecordingOnly) {
  this->put(kAlice, "manifest", "m");
  this->put(kAlice, kChunk, "media");
  this->put(kAlice, "init_001.mp4", "init!");
  this->put(kAlice, ".recording", "x");
  this->put(kAlice, "notes.txt", "x");
  EXPECT_EQ(this->names(kAlice), (Names{kChunk, "init_001.mp4", "manifest"}));
  const auto listed = this->store().list(kAlice).value();
  EXPECT_EQ(listed[0].size_bytes, 5U);
}

TYPED_TEST_P(StoreConformance, OpenObjectKeepsItsBytesWhenTheNameGetsOthers) {
  this->put(kAlice, "manifest", "line 1\n");
  const auto before = this->store().open(kAlice, "manifest").value();
  auto staged = this->store().stage(kAlice, "manifest").value();
  ASSERT_TRUE(staged->write(as_bytes("line 1\nline 2\n")));
  EXPECT_EQ(staged->publish_over(before->info(), Displaced::drop), true);
  EXPECT_EQ(as_text(read_object(*before, 100).value()), "line 1\n");
  EXPECT_EQ(this->get(kAlice, "manifest"), "line 1\nline 2\n");
}

TYPED_TEST_P(StoreConformance, SwapIsRefusedWhenSomebodyElseWasFaster) {
  this->put(kAlice, "manifest", "1");
  const ObjectInfo seen = this->store().open(kAlice, "manifest").value()->info();
  auto first = this->store().stage(kAlice, "manifest").value();
  auto second = this->store().stage(kAlice, "manifest").value();
  ASSERT_TRUE(first->write(as_bytes("12")));
  ASSERT_TRUE(second->write(as_bytes("13")));
  EXPECT_EQ(first->publish_over(seen, Displaced::drop), true);
  EXPECT_EQ(second->publish_over(seen, Displaced::drop), false);
  EXPECT_EQ(this->get(kAlice, "manifest"), "12");
}

TYPED_TEST_P(StoreConformance, SwapIsRefusedWhenNothingIsThere) {
  this->put(kAlice, kChunk, "x");
  auto staged = this->store().stage(kAlice, "manifest").value();
  ASSERT_TRUE(staged->write(as_bytes("1")));
  EXPECT_EQ(staged->publish_over(ObjectInfo{"manifest", 1, "token", true}, Displaced::drop), false);
  EXPECT_EQ(this->get(kAlice, "manifest"), "error: not-found");
}

TYPED_TEST_P(StoreConformance, DisplacedBytesAreKeptWhenAskedFor) {
  this->put(kAlice, kChunk, "rotten");
  auto staged = this->store().stage(kAlice, kChunk).value();
  ASSERT_TRUE(staged->write(as_bytes("media")));
  EXPECT_EQ(staged->publish_over(this->store().open(kAlice, kChunk).value()->info(), Displaced::quarantine), true);
  EXPECT_EQ(this->get(kAlice, kChunk), "media");
  const std::string kept =
      std::string(".damaged-") + kChunk + "-" + digest::sha256_hex(as_bytes("rotten")).substr(0, 16);
  EXPECT_EQ(this->get(kAlice, kept), "rotten");
  EXPECT_EQ(this->names(kAlice), Names{kChunk});
}

TYPED_TEST_P(StoreConformance, OfManyAtOnceOneIsCreated) {
  std::atomic<int> created{0};
  std::atomic<int> same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const PutOutcome outcome = this->put(kAlice, kChunk, "media");
      created += outcome == PutOutcome::created ? 1 : 0;
      same += outcome == PutOutcome::same ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(created, 1);
  EXPECT_EQ(same, 7);
}

TYPED_TEST_P(StoreConformance, RefusedUploadsDoNotDisturbAcceptedOnes) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 1; n <= 25; ++n) {
        (void)this->store().stage(kAlice, kChunk);  // dropped at once, and with it the directory if it is empty
        this->put(kAlice, wire::chunk_name({static_cast<std::uint32_t>(i * 25 + n)}), "media");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(this->names(kAlice).size(), 100U);
}

TYPED_TEST_P(StoreConformance, FirstIdBindsThePath) {
  const std::string ours(32, 'a');
  const std::string theirs(32, 'b');
  EXPECT_EQ(binding(this->store(), kAlice).value(), std::nullopt);
  EXPECT_EQ(mc::store::bind(this->store(), kAlice, ours), ours);
  EXPECT_EQ(mc::store::bind(this->store(), kAlice, theirs), ours);
  this->reopen();
  EXPECT_EQ(binding(this->store(), kAlice).value(), ours);
  EXPECT_EQ(mc::store::bind(this->store(), kAlice, theirs), ours);
}

TYPED_TEST_P(StoreConformance, RecordingCopiedInIsBoundByItsManifest) {
  const std::string id(32, 'c');
  this->put(kAlice, "manifest", wire::header_line() + wire::recording_line(id, kAlice));
  EXPECT_EQ(binding(this->store(), kAlice).value(), id);
  EXPECT_EQ(mc::store::bind(this->store(), kAlice, std::string(32, 'd')), id);
}

TYPED_TEST_P(StoreConformance, IndexTellsTheHashOfWhatTheStoreHas) {
  this->put(kAlice, kChunk, "media");
  HeldIndex index(this->store(), no_log());
  const ObjectInfo info = this->store().list(kAlice).value().at(0);
  EXPECT_EQ(index.sha256_of(kAlice, info), digest::sha256_hex(as_bytes("media")));
  EXPECT_EQ(index.files_read(), 1U);
}

TYPED_TEST_P(StoreConformance, DocumentsAreSwappedOnlyForWhatWasExpected) {
  EXPECT_EQ(this->store().read_document("studio-a").value(), std::nullopt);
  EXPECT_FALSE(this->store().swap_document("studio-a", "no such token", "one").value());
  EXPECT_TRUE(this->store().swap_document("studio-a", std::nullopt, "one").value());
  EXPECT_FALSE(this->store().swap_document("studio-a", std::nullopt, "two").value()) << "there is one";
  const auto first = this->store().read_document("studio-a").value();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->text, "one");
  EXPECT_TRUE(this->store().swap_document("studio-a", first->token, "two").value());
  EXPECT_FALSE(this->store().swap_document("studio-a", first->token, "three").value()) << "somebody was faster";
  this->reopen();
  const auto second = this->store().read_document("studio-a").value();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->text, "two");
  EXPECT_EQ(this->store().read_document("studio-b").value(), std::nullopt) << "each session has its own";
  // Beside recordings, and in a language of one's own.
  this->put({"スタジオ", "001", "アリス"}, kChunk, "media");
  EXPECT_TRUE(this->store().swap_document("スタジオ", std::nullopt, "x").value());
  EXPECT_EQ(this->store().read_document("スタジオ").value()->text, "x");
  EXPECT_EQ(this->get({"スタジオ", "001", "アリス"}, kChunk), "media");
}

// never-lose L16, L17: a change that was made from a stale copy never takes another one away.
TYPED_TEST_P(StoreConformance, OfManyWhoSwapNoUpdateIsLost) {
  constexpr int kThreads = 6, kEach = 15;
  ASSERT_TRUE(this->store().swap_document("studio-a", std::nullopt, "").value());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < kEach; ++i) {
        for (;;) {
          const auto document = this->store().read_document("studio-a").value();
          const std::string text = document->text + std::to_string(t) + "." + std::to_string(i) + " ";
          if (this->store().swap_document("studio-a", document->token, text).value()) break;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string all = " " + this->store().read_document("studio-a").value()->text;
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kEach; ++i) {
      const std::string entry = " " + std::to_string(t) + "." + std::to_string(i) + " ";
      EXPECT_NE(all.find(entry), std::string::npos) << entry;
    }
  }
}

TYPED_TEST_P(StoreConformance, RecordingsOfATakeAreListed) {
  EXPECT_EQ(this->store().recordings("studio-a", "001").value(), Names{});
  this->put({"studio-a", "001", "bob"}, kChunk, "b");
  this->put({"studio-a", "001", "alice~2"}, kChunk, "a");
  this->put({"studio-a", "001", "alice"}, kChunk, "a");
  this->put({"studio-a", "002", "carol"}, kChunk, "c");
  EXPECT_EQ(this->store().recordings("studio-a", "001").value(), (Names{"alice", "alice~2", "bob"}));
  EXPECT_EQ(this->store().recordings("studio-a", "002").value(), Names{"carol"});
}

REGISTER_TYPED_TEST_SUITE_P(StoreConformance, WhatWasPutIsThereAlsoAfterARestart, HashIsThatOfWhatWasWritten,
                            TheSameBytesAgainAreTheSame, OtherBytesNeverReplaceWhatIsThere,
                            WhatWasNotPublishedLeavesNothing, EmptyFilesAreFiles, RecordingsDoNotSeeEachOther,
                            NamesInAnyScriptWork, ListingIsSortedAndShowsFilesOfARecordingOnly,
                            OpenObjectKeepsItsBytesWhenTheNameGetsOthers, SwapIsRefusedWhenSomebodyElseWasFaster,
                            SwapIsRefusedWhenNothingIsThere, DisplacedBytesAreKeptWhenAskedFor,
                            OfManyAtOnceOneIsCreated, RefusedUploadsDoNotDisturbAcceptedOnes, FirstIdBindsThePath,
                            RecordingCopiedInIsBoundByItsManifest, IndexTellsTheHashOfWhatTheStoreHas,
                            DocumentsAreSwappedOnlyForWhatWasExpected, OfManyWhoSwapNoUpdateIsLost,
                            RecordingsOfATakeAreListed);

}  // namespace mc::store
