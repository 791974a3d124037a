#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "store/held_index.hpp"

namespace mc::store {
namespace {

const wire::RecordingPath kPath{"studio-a", "001", "alice"};

// A store in memory whose tokens and settledness the test decides, and that counts how often it is read.
class MemoryStore final : public Store {
 public:
  struct Item {
    std::string text;
    std::string token = "1";
    bool settled = true;
    bool breaks = false;
  };
  std::map<std::string, Item> items;

  class MemoryObject final : public Object {
   public:
    MemoryObject(ObjectInfo info, Item item) : info_(std::move(info)), item_(std::move(item)) {}
    const ObjectInfo& info() const override { return info_; }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
      if (item_.breaks) return fail(ErrorKind::io, "broken");
      if (!settled_) return fail(ErrorKind::bug, "read through the cache");
      const std::size_t n = std::min<std::size_t>(into.size(), item_.text.size() - offset);
      std::ranges::copy(as_bytes(item_.text).subspan(offset, n), into.begin());
      return n;
    }
    Status settle() override {
      settled_ = true;
      return {};
    }

   private:
    ObjectInfo info_;
    Item item_;
    bool settled_ = false;
  };

  ObjectInfo info(const std::string& name) const {
    const Item& item = items.at(name);
    return {name, item.text.size(), item.token, item.settled};
  }
  Result<std::unique_ptr<Staged>> stage(const wire::RecordingPath&, const std::string&) override {
    return fail(ErrorKind::bug, "not here");
  }
  Result<std::unique_ptr<Object>> open(const wire::RecordingPath&, const std::string& name) override {
    if (!items.contains(name)) return fail(ErrorKind::not_found, "no such item");
    return std::unique_ptr<Object>(std::make_unique<MemoryObject>(info(name), items.at(name)));
  }
  Result<std::vector<ObjectInfo>> list(const wire::RecordingPath&) override { return std::vector<ObjectInfo>{}; }
  Status sync(const wire::RecordingPath&) override { return {}; }
  Result<std::vector<std::string>> recordings(const std::string&, const std::string&) override {
    return std::vector<std::string>{};
  }
  Result<std::optional<Document>> read_document(const std::string&) override { return std::nullopt; }
  Result<bool> swap_document(const std::string&, const std::optional<std::string>&, std::string_view) override {
    return false;
  }
  Result<std::uint64_t> free_bytes() override { return 0; }
  Status ready() override { return {}; }
};

std::string sha256(std::string_view text) { return digest::sha256_hex(as_bytes(text)); }

TEST(HeldIndex, SettledFileIsReadOnce) {
  MemoryStore store;
  store.items["a"] = {"media"};
  HeldIndex index(store, no_log());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(index.sha256_of(kPath, store.info("a")), sha256("media"));
  EXPECT_EQ(index.files_read(), 1U);
}

TEST(HeldIndex, ChangedTokenMakesItReadAgain) {
  MemoryStore store;
  store.items["a"] = {"media"};
  HeldIndex index(store, no_log());
  (void)index.sha256_of(kPath, store.info("a"));
  store.items["a"] = {"MEDIA", "2"};
  EXPECT_EQ(index.sha256_of(kPath, store.info("a")), sha256("MEDIA"));
}

TEST(HeldIndex, UnsettledFileIsReadEachTime) {
  MemoryStore store;
  store.items["a"] = {"media", "1", false};
  HeldIndex index(store, no_log());
  (void)index.sha256_of(kPath, store.info("a"));
  store.items["a"] = {"MEDIA", "1", false};
  EXPECT_EQ(index.sha256_of(kPath, store.info("a")), sha256("MEDIA"));
  EXPECT_EQ(index.files_read(), 2U);
}

TEST(HeldIndex, UnreadableFileIsAnErrorAndIsNotNoted) {
  MemoryStore store;
  store.items["a"] = {"media", "1", true, true};
  HeldIndex index(store, no_log());
  EXPECT_FALSE(index.sha256_of(kPath, store.info("a")));
  store.items["a"].breaks = false;
  EXPECT_EQ(index.sha256_of(kPath, store.info("a")), sha256("media"));
}

TEST(HeldIndex, FileThatShrankWhileItWasReadIsAnError) {
  MemoryStore store;
  store.items["a"] = {"media"};
  HeldIndex index(store, no_log());
  ObjectInfo stale = store.info("a");
  MemoryStore::MemoryObject object({"a", 9, "1", true}, {"media"});
  EXPECT_FALSE(index.sha256_of(kPath, object));
}

TEST(HeldIndex, OldestRecordingIsForgottenWhenThereAreTooMany) {
  MemoryStore store;
  for (const char* name : {"a", "b", "c"}) store.items[name] = {name};
  HeldIndex index(store, no_log(), 4);
  const wire::RecordingPath other{"studio-a", "002", "bob"};
  for (const char* name : {"a", "b", "c"}) (void)index.sha256_of(kPath, store.info(name));
  for (const char* name : {"a", "b", "c"}) (void)index.sha256_of(other, store.info(name));
  EXPECT_EQ(index.files_read(), 6U);
  (void)index.sha256_of(other, store.info("a"));
  EXPECT_EQ(index.files_read(), 6U);
  EXPECT_EQ(index.sha256_of(kPath, store.info("a")), sha256("a"));
  EXPECT_EQ(index.files_read(), 7U);
}

TEST(HeldIndex, EndsWhileFilesWait) {
  MemoryStore store;
  store.items["a"] = {"media"};
  HeldIndex index(store, no_log());
  for (int i = 0; i < 100; ++i) index.published(kPath, "a");
}

}  // namespace
}  // namespace mc::store
