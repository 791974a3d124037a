#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "sys/process.hpp"
#include "unit/scratch_directory.hpp"

namespace mc::sys {
namespace {

std::string said(const Fd& fd) {
  std::string all;
  std::array<char, 4096> piece;
  for (ssize_t n; (n = ::read(fd.get(), piece.data(), piece.size())) > 0;)
    all.append(piece.data(), static_cast<std::size_t>(n));
  return all;
}

int awaited(Process& process) {
  EXPECT_TRUE(wait_readable(process.fd(), 20'000).value_or(false));
  return process.status().value_or(-1);
}

// What `sh -c script` says on its output.
std::string output_of(const std::string& script, bool own_session = false) {
  auto pipe = make_pipe();
  EXPECT_TRUE(pipe);
  auto process = Process::start(
      {.program = "/bin/sh", .arguments = {"-c", script}, .out_fd = pipe->write_end.get(), .own_session = own_session});
  EXPECT_TRUE(process);
  pipe->write_end = Fd();
  std::string text = said(pipe->read_end);
  EXPECT_EQ(awaited(*process), 0);
  return text;
}

TEST(Processes, TellHowTheyEnded) {
  auto three = Process::start({.program = "/bin/sh", .arguments = {"-c", "exit 3"}});
  ASSERT_TRUE(three);
  EXPECT_EQ(awaited(*three), 3);
  EXPECT_EQ(three->status(), 3) << "again";
  auto killed = Process::start({.program = "/bin/sleep", .arguments = {"1000"}});
  ASSERT_TRUE(killed);
  EXPECT_FALSE(killed->status());
  killed->signal(SIGKILL);
  EXPECT_EQ(awaited(*killed), 128 + SIGKILL);
}

TEST(Processes, AProgramThatIsNotThereIsSaid) {
  const auto process = Process::start({.program = "/no/such/program", .arguments = {}});
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().kind, ErrorKind::not_found) << process.error().message;
}

TEST(Processes, GetTheirDescriptorsAndNoOthers) {
  const ScratchDirectory directory;
  const Fd ours(::open((directory / "ours").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(ours.valid());
  const std::string listed = output_of("ls -l /proc/$$/fd");
  EXPECT_EQ(listed.find(directory.path()), std::string::npos) << listed;
  EXPECT_NE(listed.find("0 -> /dev/null"), std::string::npos) << listed;
  EXPECT_EQ(output_of("cat; echo end"), "end\n") << "an empty input, not ours";
}

TEST(Processes, BeginWithoutOurSignalMaskAndDispositions) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const auto handler = std::signal(SIGPIPE, SIG_IGN);
  const std::string text = output_of("grep -E '^Sig(Blk|Ign)' /proc/$$/status");
  std::signal(SIGPIPE, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_NE(text.find("SigBlk:\t0000000000000000"), std::string::npos) << text;
  const auto at = text.find("SigIgn:\t");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(std::stoull(text.substr(at + 8), nullptr, 16) & (1ULL << (SIGPIPE - 1)), 0U) << text;
}

TEST(Processes, ASessionOfTheirOwnWhenAsked) {
  const std::string script = "cut -d' ' -f6 /proc/$$/stat";
  EXPECT_EQ(std::stoi(output_of(script)), ::getsid(0));
  EXPECT_NE(std::stoi(output_of(script, true)), ::getsid(0));
}

TEST(Processes, OneThatIsNoChildIsSeenEnding) {
  auto process = Process::start({.program = "/bin/sleep", .arguments = {"1000"}});
  ASSERT_TRUE(process);
  const auto watched = watch_process(process->pid());
  ASSERT_TRUE(watched);
  EXPECT_FALSE(wait_readable(watched->get(), 0).value_or(true));
  signal_process(*watched, SIGKILL);
  EXPECT_TRUE(wait_readable(watched->get(), 20'000).value_or(false));
  EXPECT_EQ(awaited(*process), 128 + SIGKILL);
  EXPECT_FALSE(watch_process(-1));
}

}  // namespace
}  // namespace mc::sys
