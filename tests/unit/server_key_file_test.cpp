#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/key_file.hpp"
#include "unit/scratch_directory.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::server {
namespace {

mode_t mode_of(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
}

TEST(KeyFile, IsMadeOnceForItsOwnerOnly) {
  ScratchDirectory directory;
  const std::string path = directory / ".receipt-key.pem";
  const auto first = load_or_make_key(sys::real_file_system(), path);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(mode_of(path), 0600U);
  const auto second = load_or_make_key(sys::real_file_system(), path);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->public_key()->raw(), second->public_key()->raw());
  EXPECT_EQ(public_key_path(path), directory / ".receipt-key.pub.pem");
  std::ifstream in(public_key_path(path));
  const std::string pem{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(digest::PublicKey::from_pem(pem)->raw(), first->public_key()->raw());
}

TEST(KeyFile, IsDurableBeforeItIsUsed) {
  ScratchDirectory directory;
  WatchedFileSystem fs(directory.path());
  ASSERT_TRUE(load_or_make_key(fs, directory / "k.pem"));
  auto log = fs.take_log();
  ASSERT_GE(log.size(), 7U);
  log.erase(log.begin());  // removes an old stage
  log.resize(6);
  EXPECT_EQ(log, (std::vector<std::string>{"create .stage-k.pem", "write .stage-k.pem", "sync .stage-k.pem",
                                           "close .stage-k.pem", "rename_new k.pem", "sync_directory "}));
}

TEST(KeyFile, OthersMustNotBeAbleToReadIt) {
  ScratchDirectory directory;
  ASSERT_TRUE(load_or_make_key(sys::real_file_system(), directory / "k.pem"));
  ::chmod((directory / "k.pem").c_str(), 0640);
  const auto key = load_or_make_key(sys::real_file_system(), directory / "k.pem");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().kind, ErrorKind::config);
}

TEST(KeyFile, GarbageIsDamagedAndStays) {
  ScratchDirectory directory;
  std::ofstream(directory / "k.pem") << "not a key";
  ::chmod((directory / "k.pem").c_str(), 0600);
  const auto key = load_or_make_key(sys::real_file_system(), directory / "k.pem");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().kind, ErrorKind::damaged);
  EXPECT_EQ(std::filesystem::file_size(directory / "k.pem"), 9U);
}

TEST(KeyFile, MissingDirectoryIsNotMade) {
  ScratchDirectory directory;
  EXPECT_FALSE(load_or_make_key(sys::real_file_system(), directory / "no/k.pem"));
}

}  // namespace
}  // namespace mc::server
