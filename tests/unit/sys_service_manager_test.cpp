// What a service manager hands over and is told.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "sys/service_manager.hpp"

namespace mc::sys {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SetClock : public Clock {
 public:
  std::int64_t wall_ns() const override { return now; }
  std::int64_t monotonic_ns() const override { return now; }
  std::int64_t now = 1'000'000'000;
};

// The environment is the process's: every test leaves it as it was.
class ServiceManager : public testing::Test {
 protected:
  void TearDown() override {
    if (!path_.empty()) std::filesystem::remove(path_);
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"}) ::unsetenv(name);
  }
  // A manager's socket, and its name in the environment.
  void listen() {
    path_ = std::filesystem::path(testing::TempDir()) / ("notify-" + std::to_string(::getpid()));
    std::filesystem::remove(path_);
    socket_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(path_.size(), sizeof address.sun_path);
    std::strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  std::vector<std::string> heard() {
    std::vector<std::string> all;
    char text[256];
    for (ssize_t n = 0; (n = ::recv(socket_.get(), text, sizeof text, 0)) >= 0;) all.emplace_back(text, text + n);
    return all;
  }

  std::string path_;
  Fd socket_;
  SetClock clock_;
};

TEST_F(ServiceManager, IsToldAndWhereThereIsNoneNothingHappens) {
  EXPECT_TRUE(notify_service_manager("READY=1"));
  listen();
  EXPECT_TRUE(notify_ready(-1, "x"));
  EXPECT_TRUE(notify_service_manager("STOPPING=1"));
  EXPECT_THAT(heard(), ElementsAre("READY=1", "STOPPING=1"));
  ::setenv("NOTIFY_SOCKET", "/nowhere/there", 1);
  const auto failed = notify_service_manager("READY=1");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().sys_errno, ENOENT);
}

TEST_F(ServiceManager, WatchdogIsFedFourTimesInItsIntervalAtMost) {
  listen();
  ::setenv("WATCHDOG_USEC", "4000000", 1);
  Watchdog watchdog(clock_);
  EXPECT_TRUE(watchdog.is_wanted());
  EXPECT_THAT(heard(), IsEmpty()) << "only what is done feeds it";
  for (int i = 0; i < 100; ++i) {  // 10 s
    watchdog.feed();
    clock_.now += 100'000'000;
  }
  const auto all = heard();
  EXPECT_EQ(all.size(), 10U);
  EXPECT_EQ(all.front(), "WATCHDOG=1");
}

TEST_F(ServiceManager, WithoutAnIntervalOrWithANonsenseThereIsNoWatchdog) {
  listen();
  EXPECT_FALSE(Watchdog(clock_).is_wanted());
  for (const char* text : {"", "0", "-1", "1s", "99999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", text, 1);
    Watchdog watchdog(clock_);
    EXPECT_FALSE(watchdog.is_wanted()) << text;
    watchdog.feed();
  }
  EXPECT_THAT(heard(), IsEmpty());
}

TEST_F(ServiceManager, SocketsForAnotherProcessAreNotTaken) {
  EXPECT_THAT(*take_inherited_sockets(), IsEmpty());
  ::setenv("LISTEN_FDS", "1", 1);
  EXPECT_THAT(*take_inherited_sockets(), IsEmpty());
  ::setenv("LISTEN_PID", "1", 1);
  EXPECT_THAT(*take_inherited_sockets(), IsEmpty());
}

TEST_F(ServiceManager, InheritedSocketsAreOursAndNotOurChildrens) {
  const int saved = ::fcntl(3, F_DUPFD_CLOEXEC, 100);  // whatever the test program has there
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  ASSERT_EQ(::dup2(ends[0], 3), 3);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  {
    auto sockets = take_inherited_sockets();
    ASSERT_TRUE(sockets) << sockets.error().message;
    ASSERT_EQ(sockets->size(), 1U);
    EXPECT_EQ(sockets->front().get(), 3);
    EXPECT_EQ(::fcntl(3, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
  }
  ::close(ends[0]);
  ::close(ends[1]);
  if (saved >= 0) {
    ::dup2(saved, 3);
    ::close(saved);
  }
}

}  // namespace
}  // namespace mc::sys
