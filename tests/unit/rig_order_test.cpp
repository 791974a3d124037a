// What a supervisor keeps on its disk, and what is made of it by whoever takes over.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/clock.hpp"
#include "rig/line_socket.hpp"
#include "rig/order.hpp"
#include "unit/scratch_directory.hpp"

namespace mc::rig {
namespace {

class Orders : public testing::Test {
 protected:
  void SetUp() override {
    order_.session = "studio-a";
    order_.guest = "alice";
    order_.spool = directory_ / "spool";
    order_.server = "http://127.0.0.1:1";
    order_.capture = {"--video", "lavfi:testsrc2=size=160x90"};
  }

  Order recording() const {
    Order order = order_;
    order.take = "001";
    order.t0_ns = 1'795'000'000'123'456'789;
    order.clock = ClockReading{-17, 250, boot_id()};
    order.directory = choose_directory(sys::real_file_system(), order);
    return order;
  }

  ScratchDirectory directory_;
  Order order_;
};

TEST_F(Orders, AreFoundAsTheyWereKept) {
  sys::FileSystem& fs = sys::real_file_system();
  Order stopped = recording();
  stopped.stopped = true;
  stopped.t1_ns = stopped.t0_ns + 5;
  Order failed = stopped;
  failed.failed = "nothing was recorded";
  for (const Order& order : {order_, recording(), stopped, failed}) {
    ASSERT_TRUE(keep_order(fs, directory_.path(), order));
    const auto found = load_order(fs, directory_.path());
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, order);
  }
}

TEST_F(Orders, CutAnywhereOrWithoutATakesTimeIsDamaged) {
  sys::FileSystem& fs = sys::real_file_system();
  const std::string text = json::to_text(to_json(recording()));
  for (std::size_t n = 0; n < text.size(); ++n) {
    std::ofstream(directory_ / kOrderName, std::ios::trunc) << text.substr(0, n);
    const auto found = load_order(fs, directory_.path());
    ASSERT_FALSE(found) << n;
    EXPECT_EQ(found.error().kind, ErrorKind::damaged);
  }
  json::object without = to_json(recording());
  without.erase("t0");
  EXPECT_FALSE(order_from_json(without));
}

TEST_F(Orders, OnlyWhatHasNothingLeftToDoIsOver) {
  EXPECT_FALSE(order_.is_over());
  Order order = recording();
  order.stopped = true;
  EXPECT_FALSE(order.is_over()) << "the receipt is not there";
  order.closed = true;
  EXPECT_FALSE(order.is_over());
  order.synced = true;
  EXPECT_TRUE(order.is_over());
  order_.stopped = true;
  EXPECT_TRUE(order_.is_over()) << "ended in standby";
}

TEST_F(Orders, AClockOfAnotherBootIsNotBelieved) {
  const ClockReading kept{123, 45, boot_id()};
  EXPECT_EQ(usable_clock(kept), kept);
  const ClockReading other = usable_clock(ClockReading{123, 45, "00000000-0000-0000-0000-000000000000"});
  const std::int64_t wall_us = system_clock().wall_ns() / 1000;
  const std::int64_t there_us = system_clock().monotonic_ns() / 1000 + other.offset_us;
  EXPECT_NEAR(static_cast<double>(there_us), static_cast<double>(wall_us), 1e6);
  EXPECT_GE(other.bound_us, 1'000'000) << "it says how little it is worth";
  EXPECT_EQ(usable_clock(std::nullopt).boot_id, boot_id());
}

TEST_F(Orders, AClosedRecordingIsNeverGoneOnWith) {
  const Order order = recording();
  EXPECT_EQ(order.directory, order.spool + "/studio-a/001/alice");
  std::filesystem::create_directories(order.directory);
  EXPECT_EQ(choose_directory(sys::real_file_system(), order), order.directory) << "an open one is";
  std::ofstream(order.directory + "/manifest")
      << "# maycast-manifest 1\n# end chunks=1 root=" << std::string(64, 'a') << " crc=00000000\n";
  EXPECT_EQ(choose_directory(sys::real_file_system(), order), order.directory + "~2");
}

TEST(LineSockets, LinesAreWholeWhateverThePieces) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  LineSocket reader{sys::Fd(ends[0])};
  const sys::Fd writer(ends[1]);
  std::size_t seen = 0;
  for (const char c : std::string("{\"a\":1}\nno JSON\n[1]\n{\"b\":2}\n{\"c\"")) {
    ASSERT_EQ(::write(writer.get(), &c, 1), 1);
    seen += reader.take().size();
  }
  EXPECT_EQ(seen, 2U);
  EXPECT_TRUE(reader.is_open());
}

TEST(LineSockets, AnEndlessLineAndAPeerThatIsGoneCloseIt) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  LineSocket reader{sys::Fd(ends[0])};
  sys::Fd writer(ends[1]);
  const std::string piece(8192, 'x');
  for (int n = 0; n < 40 && reader.is_open(); ++n) {
    ASSERT_GT(::send(writer.get(), piece.data(), piece.size(), MSG_NOSIGNAL), 0);
    (void)reader.take();
  }
  EXPECT_FALSE(reader.is_open());
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  LineSocket left{sys::Fd(ends[0])};
  writer = sys::Fd(ends[1]);
  writer = sys::Fd();
  left.send({{"command", "stop"}});
  EXPECT_FALSE(left.is_open());
}

// Nobody reads: it does not block, and does not send halves.
TEST(LineSockets, APeerThatDoesNotReadIsNoPeer) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  LineSocket writer{sys::Fd(ends[0])};
  const sys::Fd reader(ends[1]);
  const json::object message{{"text", std::string(10'000, 'x')}};
  for (int n = 0; n < 1000 && writer.is_open(); ++n) writer.send(message);
  EXPECT_FALSE(writer.is_open());
}

}  // namespace
}  // namespace mc::rig
