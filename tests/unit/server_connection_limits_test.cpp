// The server on real sockets: who is too slow, too many or not there any more, and how it stops.
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <thread>

#include "unit/server_client.hpp"

namespace mc::server {
namespace {

TEST_F(Connections, SlowOnesAreCutOffAndOthersAreNot) {
  Limits limits;
  limits.idle = milliseconds(150);
  limits.stall = milliseconds(150);
  serve(limits);
  Client idle = connect();
  Client half_header = connect();
  half_header.send("GET /healthz HT");
  Client half_body = connect();
  half_body.send(put_head(kChunk, "media", "Content-Length: 5") + "me");
  Client honest = connect();
  honest.send(put_text("chunk_000002.m4s", "media"));
  EXPECT_EQ(honest.status(), 201);
  EXPECT_TRUE(idle.is_closed());
  EXPECT_TRUE(half_header.is_closed());
  EXPECT_TRUE(half_body.is_closed());
  server_->stop();
  EXPECT_FALSE(std::filesystem::exists(file(kChunk)));
}

TEST_F(Connections, DribblingABodyIsCutOffAndAnHonestUploadIsNot) {
  Limits limits;
  limits.window = milliseconds(200);
  limits.window_bytes = 1000;
  serve(limits);
  Client slow = connect();
  slow.send(put_head(kChunk, std::string(999, 'x'), "Content-Length: 999"));
  Client honest = connect();
  // A byte now and then never stalls. The bound is what the test may take, not what it measures.
  int bytes = 0;
  while (bytes < 900 && !slow.ends_within(milliseconds(10)) && slow.send("x")) {
    ++bytes;
    honest.send(put_text(wire::chunk_name({static_cast<std::uint32_t>(bytes + 1)}), std::string(5000, 'y')));
    ASSERT_EQ(honest.status(), 201);
  }
  EXPECT_LT(bytes, 900);
  EXPECT_GT(bytes, 1);
  server_->stop();
  EXPECT_FALSE(std::filesystem::exists(file(kChunk)));
}

TEST_F(Connections, WhoDoesNotTakeHisAnswerIsCutOff) {
  serve();
  const std::string large(20'000'000, 'x');  // more than the kernel's buffers take
  Client sender = connect();
  sender.send(put_text(kChunk, large));
  ASSERT_EQ(sender.status(), 201);
  server_->stop();
  Limits limits;
  limits.stall = milliseconds(200);
  serve(limits);
  Client deaf = connect();
  deaf.send(get_text(wire::file_target(recording_.path, kChunk)));
  Client honest = connect();
  honest.send(get_text("/healthz"));
  EXPECT_EQ(honest.status(), 200);
  while (metrics_.open_connections > 1)
    std::this_thread::yield();  // the deaf one goes, or the test runs into its limit
  honest.send(get_text("/healthz"));
  EXPECT_EQ(honest.status(), 200);
}

TEST_F(Connections, IdleOneMakesRoomForANewOne) {
  Limits limits;
  limits.connections = 2;
  limits.spare_idle = milliseconds(0);
  serve(limits);
  Client busy = connect();
  busy.send(put_head(kChunk, "media", "Expect: 100-continue\r\nContent-Length: 5"));
  EXPECT_EQ(busy.status(), 100);
  Client idle = connect();
  idle.send(get_text("/healthz"));
  EXPECT_EQ(idle.status(), 200);
  // Its answer is here before the server has come to wait for its next request.
  int status = 503;
  for (int i = 0; i < 1000 && status == 503; ++i) {
    Client newcomer = connect();
    newcomer.send(get_text("/healthz"));
    status = newcomer.status();
  }
  EXPECT_EQ(status, 200);
  EXPECT_TRUE(idle.is_closed());
  busy.send("media");
  EXPECT_EQ(busy.status(), 201);
  EXPECT_EQ(metrics_.idle_connections_closed, 1U);
}

TEST_F(Connections, VanishedPeersAreAskedForByTheKernel) {
  serve();
  Client client = connect();
  client.send(get_text("/healthz"));
  EXPECT_EQ(client.status(), 200);
  const int fd = client.other_end();
  ASSERT_GE(fd, 0);
  const auto option = [fd](int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 60'000);
}

TEST_F(Connections, TooManyAreToldSo) {
  Limits limits;
  limits.connections = 2;
  limits.spare_idle = std::chrono::hours(1);
  serve(limits);
  Client a = connect();
  Client b = connect();
  a.send(get_text("/healthz"));
  EXPECT_EQ(a.status(), 200);
  b.send(get_text("/healthz"));
  EXPECT_EQ(b.status(), 200);
  Client c = connect();
  EXPECT_EQ(c.status(), 503);
  EXPECT_NE(c.head.find("Retry-After: "), std::string::npos);
  EXPECT_TRUE(c.is_closed());
  a.send(get_text("/healthz"));
  EXPECT_EQ(a.status(), 200);
}

TEST_F(Connections, StopFinishesWhatIsInFlightAndClosesWhatIsIdle) {
  Limits limits;
  limits.linger = milliseconds(100);
  serve(limits);
  Client idle = connect();
  idle.send(get_text("/healthz"));
  idle.status();
  Client busy = connect();
  busy.send(put_head(kChunk, "media", "Expect: 100-continue\r\nContent-Length: 5"));
  EXPECT_EQ(busy.status(), 100);
  std::thread stopper([&] { server_->stop(); });
  EXPECT_TRUE(idle.is_closed());
  busy.send("media");
  EXPECT_EQ(busy.status(), 201);
  EXPECT_NE(busy.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(busy.is_closed());
  stopper.join();
  EXPECT_EQ(on_disk(kChunk), "media");
}

TEST_F(Connections, StopDoesNotWaitForEver) {
  Limits limits;
  limits.stop_grace = milliseconds(100);
  serve(limits);
  Client stuck = connect();
  stuck.send(put_head(kChunk, "media", "Expect: 100-continue\r\nContent-Length: 5"));
  EXPECT_EQ(stuck.status(), 100);
  server_->stop();
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

}  // namespace
}  // namespace mc::server
