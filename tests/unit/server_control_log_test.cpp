#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "server/control_log.hpp"
#include "unit/scratch_directory.hpp"

namespace mc::server {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(ControlLog, BeginsOnANewLineAfterATornOne) {
  const ScratchDirectory directory;
  const std::string path = directory / "log";
  std::ofstream(path) << "{\"event\":\"old\"}\n{\"eve";
  {
    const auto log = ControlLog::open(sys::real_file_system(), path, no_log()).value();
    log->add("conflict", {{"name", "chunk_000001.m4s"}});
  }
  const std::string text = text_of(path);
  EXPECT_TRUE(text.starts_with("{\"event\":\"old\"}\n{\"eve\n{\"event\":\"conflict\",\"time\":\"")) << text;
  EXPECT_TRUE(text.ends_with("\"name\":\"chunk_000001.m4s\"}\n")) << text;
}

TEST(ControlLog, WhatAnybodyCanCauseIsLimited) {
  const ScratchDirectory directory;
  const std::string path = directory / "log";
  {
    const auto log = ControlLog::open(sys::real_file_system(), path, no_log()).value();
    for (int i = 0; i < 1000; ++i) log->add_limited("token-refused", {});
  }
  const std::string text = text_of(path);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
}

TEST(ControlLog, ALogThatCannotBeWrittenIsCountedAndSaidOnce) {
  int said = 0;
  // /dev/full takes no byte, as a full disk.
  const auto log = ControlLog::open(sys::real_file_system(), "/dev/full", [&](LogLevel, std::string_view) { ++said; });
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_FALSE((*log)->add_durably("prune", {}));
  (*log)->add("conflict", {});
  while ((*log)->lines_lost() < 1) std::this_thread::yield();
  (*log)->add("conflict", {});
  while ((*log)->lines_lost() < 2) std::this_thread::yield();
  EXPECT_EQ(said, 1);
}

}  // namespace
}  // namespace mc::server
