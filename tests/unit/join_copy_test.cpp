#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <thread>

#include "join/copy.hpp"
#include "join/output.hpp"
#include "join_recording.hpp"
#include "spool/recording.hpp"
#include "sys/file_system.hpp"

namespace mc::join {
namespace {

using join_test::Recording;
using join_test::run_of;
using testing::HasSubstr;

class JoinCopy : public testing::Test {
 protected:
  JoinCopy() : recording_({{join_test::picture(), join_test::sound()}}) {
    for (std::uint32_t second = 0; second < 20; ++second) {
      recording_.add_chunk({run_of(1, second * 90000U, 30, 3000, 5000), run_of(2, second * 48000U, 50, 960)});
    }
    recording_.close();
    auto& fs = sys::real_file_system();
    const auto loaded = spool::load_manifest(fs, recording_.directory());
    plan_ = *make_plan(*loaded, directory_reader(fs, recording_.directory()));
    expected_ = plan_.head;
    for (const Range& range : plan_.ranges) {
      const ByteBuffer chunk = recording_.get(plan_.files.at(range.file).name);
      append(expected_, ByteView(chunk).subspan(range.offset, range.length));
    }
  }

  std::string target() const { return recording_.path("out.mp4"); }

  Status copy_to_file(const CopyOptions& options) {
    MC_TRY_ASSIGN(Output out, Output::open(target()));
    MC_TRY(out.reserve(plan_.size_bytes));
    MC_TRY(copy_plan(plan_, recording_.directory(), out.fd(), out.name(), options));
    return out.commit();
  }

  // What stands in the directory beside the recording's own files.
  std::vector<std::string> strangers() const {
    std::vector<std::string> names;
    const auto entries = sys::real_file_system().list(recording_.directory());
    for (const auto& entry : *entries) {
      if (!wire::parse_file_name(entry.name)) names.push_back(entry.name);
    }
    return names;
  }

  Recording recording_;
  Plan plan_;
  ByteBuffer expected_;
};

TEST_F(JoinCopy, EveryWayOfCopyingGivesThePlansBytes) {
  for (const Verify verify : {Verify::hashes, Verify::nothing}) {
    for (const Placement placement : {Placement::anywhere, Placement::in_order}) {
      for (const int threads : {1, 2, 4}) {
        CopyOptions options;
        options.verify = verify;
        options.placement = placement;
        options.threads = threads;
        const Status copied = copy_to_file(options);
        ASSERT_TRUE(copied) << copied.error().message;
        EXPECT_EQ(Recording::read(target()), expected_);
      }
    }
  }
  EXPECT_EQ(strangers(), std::vector<std::string>{"out.mp4"});
}

TEST_F(JoinCopy, PipeGetsTheBytesInOrder) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  sys::Fd read_end(ends[0]), write_end(ends[1]);
  ByteBuffer got;
  std::thread reader([&] {
    std::array<std::uint8_t, 65536> piece{};
    for (ssize_t n = 0; (n = ::read(read_end.get(), piece.data(), piece.size())) > 0;) {
      append(got, ByteView(piece).first(static_cast<std::size_t>(n)));
    }
  });
  const Status copied = copy_plan(plan_, recording_.directory(), write_end.get(), "pipe", {});
  ASSERT_TRUE(write_end.close("pipe"));
  reader.join();
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_EQ(got, expected_);
}

TEST_F(JoinCopy, FlippedByteAnywhereStopsAndLeavesTheOldFile) {
  recording_.put("out.mp4", as_bytes("old"));
  const std::size_t size = recording_.get("chunk_000011.m4s").size();
  for (std::size_t at = 0; at < size; at += 4999) {
    recording_.flip("chunk_000011.m4s", at);
    CopyOptions options;
    options.placement = Placement::anywhere;
    const Status copied = copy_to_file(options);
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().kind, ErrorKind::damaged);
    EXPECT_THAT(copied.error().message, HasSubstr("chunk_000011.m4s"));
    recording_.flip("chunk_000011.m4s", at);
  }
  EXPECT_EQ(as_text(recording_.get("out.mp4")), "old");
  EXPECT_EQ(strangers(), std::vector<std::string>{"out.mp4"});
}

TEST_F(JoinCopy, NoByteOfADamagedChunkGoesIntoAPipe) {
  recording_.flip("chunk_000001.m4s", 5000);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  sys::Fd read_end(ends[0]), write_end(ends[1]);
  EXPECT_FALSE(copy_plan(plan_, recording_.directory(), write_end.get(), "pipe", {}));
  int waiting = 0;
  ASSERT_EQ(::ioctl(read_end.get(), FIONREAD, &waiting), 0);
  EXPECT_EQ(static_cast<std::size_t>(waiting), plan_.head.size());
}

TEST_F(JoinCopy, ChunkThatWentAwayAfterPlanningIsNamed) {
  std::filesystem::remove(recording_.chunk(20));
  for (const Verify verify : {Verify::hashes, Verify::nothing}) {
    CopyOptions options;
    options.verify = verify;
    options.placement = Placement::anywhere;
    const Status copied = copy_to_file(options);
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().kind, ErrorKind::damaged);
    EXPECT_THAT(copied.error().message, HasSubstr("chunk_000020.m4s"));
  }
}

TEST_F(JoinCopy, FullDeviceIsNoSpace) {
  const sys::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const Status copied = copy_plan(plan_, recording_.directory(), full.get(), "/dev/full", {});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().kind, ErrorKind::no_space);
}

TEST_F(JoinCopy, ClosedPipeIsAnError) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ::close(ends[0]);
  const sys::Fd write_end(ends[1]);
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  const Status copied = copy_plan(plan_, recording_.directory(), write_end.get(), "pipe", {});
  ::signal(SIGPIPE, before);
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().sys_errno, EPIPE);
}

TEST_F(JoinCopy, StopSignalEndsItAndLeavesNothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  sys::Fd read_end(ends[0]), write_end(ends[1]);
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  CopyOptions options;
  options.placement = Placement::anywhere;
  options.stop_fd = read_end.get();
  const Status copied = copy_to_file(options);
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().sys_errno, EINTR);
  EXPECT_TRUE(strangers().empty());
}

TEST_F(JoinCopy, OutputThatIsAnInputIsRefused) {
  const sys::Fd chunk(::open(recording_.chunk(3).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const Status copied = copy_plan(plan_, recording_.directory(), chunk.get(), "stdout", {});
  EXPECT_FALSE(copied);
}

TEST(JoinOutput, NothingIsThereBeforeCommit) {
  const Recording recording;
  const std::string path = recording.path("a.mp4");
  {
    auto out = Output::open(path);
    ASSERT_TRUE(out);
    EXPECT_TRUE(out->is_staged());
    ASSERT_TRUE(out->reserve(1000));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(sys::real_file_system().list(recording.directory())->empty());
}

TEST(JoinOutput, SymbolicLinkKeepsPointingAtTheNewFile) {
  const Recording recording;
  recording.put("real.mp4", as_bytes("old"));
  std::filesystem::create_symlink("real.mp4", recording.path("link.mp4"));
  auto out = Output::open(recording.path("link.mp4"));
  ASSERT_TRUE(out);
  ASSERT_EQ(::write(out->fd(), "new", 3), 3);
  ASSERT_TRUE(out->commit());
  EXPECT_TRUE(std::filesystem::is_symlink(recording.path("link.mp4")));
  EXPECT_EQ(as_text(recording.get("real.mp4")), "new");
}

TEST(JoinOutput, DeviceIsWrittenToAndNotReplaced) {
  auto out = Output::open("/dev/null");
  ASSERT_TRUE(out);
  EXPECT_FALSE(out->is_staged());
  ASSERT_TRUE(out->reserve(1 << 20));
  ASSERT_TRUE(out->commit());
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(JoinOutput, DirectoryOrMissingParentCannotBeCreated) {
  const Recording recording;
  for (const std::string& path : {recording.directory(), recording.path("no/such/out.mp4")}) {
    const auto out = Output::open(path);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().kind, ErrorKind::no_space) << out.error().message;
  }
}

TEST(JoinOutput, MoreThanTheDiskHoldsIsKnownAtTheStart) {
  const Recording recording;
  auto out = Output::open(recording.path("a.mp4"));
  ASSERT_TRUE(out);
  const Status reserved = out->reserve(std::uint64_t{1} << 50);
  ASSERT_FALSE(reserved);
  EXPECT_EQ(reserved.error().kind, ErrorKind::no_space);
}

}  // namespace
}  // namespace mc::join
