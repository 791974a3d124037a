// The control connection of a session, with a real WebSocket client.
#include <gmock/gmock.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/websocket.hpp>

#include "unit/server_client.hpp"
#include "wire/control.hpp"

namespace mc::server {
namespace {

namespace ws = boost::beast::websocket;
using boost::system::error_code;
using testing::HasSubstr;

// Says what it is told to; a test that waits for what does not come fails after 20 s.
class ControlClient {
 public:
  // Says hello as `guest`, when there is a session.
  ControlClient(const std::string& url, const std::string& session, const std::string& guest = {}) : stream_(io_) {
    const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    stream_.next_layer().connect({boost::asio::ip::make_address("127.0.0.1"), port});
    const timeval longest{20, 0};
    ::setsockopt(stream_.next_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    stream_.handshake(response_, "x", wire::session_target(session, "control"), error);
    if (!error) say(wire::Hello{guest, "test"});
  }
  int status() const { return static_cast<int>(response_.result_int()); }
  std::string protocol() const { return std::string(response_["Sec-WebSocket-Protocol"]); }
  void say(const wire::ControlMessage& message) { say_text(wire::format_control(message)); }
  void say_text(const std::string& text) { stream_.write(boost::asio::buffer(text), error); }
  // The next message of the type; others are passed over. Nothing: the connection is over, and `code` says why.
  template <class Message>
  std::optional<Message> next() {
    for (;;) {
      boost::beast::flat_buffer buffer;
      stream_.read(buffer, error);
      if (error) {
        code = stream_.reason().code;
        return std::nullopt;
      }
      const auto data = buffer.data();
      auto message = wire::parse_control({static_cast<const char*>(data.data()), data.size()});
      EXPECT_TRUE(message);
      if (message && std::holds_alternative<Message>(*message)) return std::get<Message>(*message);
    }
  }
  // Views until one is as wanted.
  template <class Wanted>
  std::optional<wire::SessionView> view(Wanted wanted) {
    for (;;) {
      auto view = next<wire::SessionView>();
      if (!view || wanted(*view)) return view;
    }
  }
  void hang_up() { boost::beast::get_lowest_layer(stream_).close(); }

  error_code error;
  int code = 0;

 private:
  boost::asio::io_context io_;
  ws::stream<boost::asio::ip::tcp::socket> stream_;
  ws::response_type response_;
};

class ControlTest : public Connections {
 protected:
  void SetUp() override {
    serve();
    const auto created = post("/v1/sessions", wire::format_new_session({"studio-a", {"alice", "bob"}}));
    ASSERT_EQ(created, 201);
  }
  ControlClient join(const std::string& guest) { return ControlClient(server_->urls().front(), "studio-a", guest); }
  int post(const std::string& target, const std::string& body) {
    Client client = connect();
    client.send("POST " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    const int status = client.status();
    answer_ = client.body;
    return status;
  }
  int command(const char* action) { return post(wire::session_target("studio-a", action), ""); }

  std::string answer_;
};

bool anything(const wire::SessionView&) { return true; }

TEST_F(ControlTest, TheViewComesAtOnceAndWithEachDecision) {
  auto alice = join("alice");
  EXPECT_EQ(alice.status(), 101);
  EXPECT_EQ(alice.protocol(), wire::kControlProtocol);
  const auto first = alice.view(anything);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->takes.empty());
  ASSERT_EQ(command("rec"), 200);
  const auto second = alice.view([](const auto& view) { return view.recording() != nullptr; });
  ASSERT_TRUE(second);
  EXPECT_EQ(second->version, first->version + 1);
  ASSERT_EQ(command("stop"), 200);
  EXPECT_TRUE(alice.view([](const auto& view) { return view.recording() == nullptr; }));
}

TEST_F(ControlTest, TheClockIsAnsweredWithTheSessionsTime) {
  auto alice = join("alice");
  const std::int64_t before = system_clock().wall_ns() / 1000;
  alice.say(wire::ClockQuestion{-42});
  const auto answer = alice.next<wire::ClockAnswer>();
  const std::int64_t after = system_clock().wall_ns() / 1000;
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->t1_us, -42) << "the client's own";
  EXPECT_LE(before, answer->t2_us);
  EXPECT_LE(answer->t2_us, answer->t3_us);
  EXPECT_LE(answer->t3_us, after);
}

TEST_F(ControlTest, WhoLooksOnSeesWhoIsThereAndWhatTheySay) {
  auto director = join("");
  ASSERT_TRUE(director.view([](const auto& view) { return !view.guests[0].online; }));
  {
    auto alice = join("alice");
    ASSERT_TRUE(director.view([](const auto& view) { return view.guests[0].online; }));
    wire::Telemetry telemetry;
    telemetry.guest = "alice";
    telemetry.state = "standby";
    telemetry.round_trip_us = 1'000'000;
    telemetry.alarms = {"microphone: no signal"};
    alice.say(telemetry);
    EXPECT_EQ(director.next<wire::Telemetry>(), telemetry);
    // Four of its round trips ahead.
    ASSERT_EQ(command("rec"), 200);
    const auto view = director.view([](const auto& v) { return v.recording() != nullptr; });
    ASSERT_TRUE(view);
    EXPECT_GE(view->recording()->t0_ns, view->now_ns + 3'500'000'000);
    EXPECT_EQ(view->guests[0].telemetry, telemetry);
    alice.hang_up();
  }
  EXPECT_TRUE(director.view([](const auto& view) { return !view.guests[0].online; }));
}

TEST_F(ControlTest, ANewerConnectionOfAGuestTakesThePlaceOfTheOlder) {
  auto older = join("alice");
  ASSERT_TRUE(older.view(anything));
  auto newer = join("alice");
  ASSERT_TRUE(newer.view(anything));
  EXPECT_FALSE(older.view([](const auto&) { return false; }));
  EXPECT_EQ(older.code, 4000);
  newer.say(wire::ClockQuestion{1});
  EXPECT_TRUE(newer.next<wire::ClockAnswer>());
}

// What a slow reader misses is telemetry, and never what was decided.
TEST_F(ControlTest, AReaderThatIsSlowGetsTheLastViewAllTheSame) {
  auto director = join("");
  ASSERT_TRUE(director.view(anything));
  auto alice = join("alice");
  ASSERT_TRUE(alice.view(anything));
  wire::Telemetry telemetry;
  telemetry.guest = "alice";
  telemetry.state = "standby";
  telemetry.alarms = {std::string(50'000, 'x')};
  constexpr int kMessages = 400;
  for (int i = 0; i < kMessages; ++i) alice.say(telemetry);
  alice.say(wire::ClockQuestion{1});
  ASSERT_TRUE(alice.next<wire::ClockAnswer>()) << "all of it was taken";
  ASSERT_EQ(command("rec"), 200);
  ASSERT_TRUE(alice.view([](const auto& view) { return view.recording() != nullptr; }));
  EXPECT_TRUE(director.view([](const auto& view) { return view.recording() != nullptr; }));
}

TEST_F(ControlTest, AReceiptIsSeen) {
  ASSERT_EQ(command("rec"), 200);
  ASSERT_EQ(command("stop"), 200);
  auto director = join("");
  ASSERT_TRUE(director.view(anything));
  put_files(recording_);
  ASSERT_TRUE(director.view([](const auto& view) { return view.takes[0].guests[0].holding == wire::Holding::part; }));
  ASSERT_TRUE(audit(recording_, recording_.manifest).synced);
  EXPECT_TRUE(director.view([](const auto& view) { return view.takes[0].guests[0].holding == wire::Holding::all; }));
}

TEST_F(ControlTest, GarbageEndsTheConnectionAndNothingElse) {
  auto alice = join("alice");
  ASSERT_TRUE(alice.view(anything));
  for (const std::string& garbage :
       {std::string("not json"), std::string("{}"), std::string(R"({"type":"telemetry","telemetry":{}})"),
        wire::format_control(wire::Hello{"bob", "test"})}) {
    auto bob = join("bob");
    bob.say_text(garbage);
    const auto problem = bob.next<wire::Problem>();
    EXPECT_TRUE(problem) << garbage;
    EXPECT_FALSE(bob.next<wire::Problem>());
    EXPECT_EQ(bob.code, 1008) << garbage;
  }
  auto big = join("bob");
  big.say_text("{\"type\":\"" + std::string(2 * wire::kMaxControlBytes, 'x') + "\"}");
  EXPECT_FALSE(big.next<wire::Problem>());
  wire::Telemetry of_alice;
  of_alice.guest = "alice";
  of_alice.state = "failed";
  auto liar = join("bob");
  liar.say(of_alice);
  ASSERT_TRUE(liar.next<wire::Problem>());
  alice.say_text(R"({"type":"of a later version","x":1})");
  alice.say(wire::ClockQuestion{1});
  EXPECT_TRUE(alice.next<wire::ClockAnswer>()) << "unknown types are passed over";
}

TEST_F(ControlTest, WithoutASessionOrAnUpgradeThereIsNone) {
  ControlClient client(server_->urls().front(), "nobody");
  EXPECT_EQ(client.status(), 404);
  Client plain = connect();
  plain.send(get_text(wire::session_target("studio-a", "control")));
  EXPECT_EQ(plain.status(), 426);
  plain.send("GET " + wire::session_target("studio-a", "control") +
             " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
  EXPECT_EQ(plain.status(), 400) << "no key, no version";
}

TEST_F(ControlTest, BodiesOfCommandsAreSmall) {
  Client client = connect();
  client.send("POST " + wire::session_target("studio-a", "rec") +
              " HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
  EXPECT_EQ(client.status(), 413);
  Client chunked = connect();
  chunked.send("POST " + wire::session_target("studio-a", "rec") +
               " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n12000\r\n" + std::string(0x12000, ' '));
  EXPECT_EQ(chunked.status(), 413);
  Client broken = connect();
  broken.send("POST " + wire::session_target("studio-a", "rec") +
              " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{");
  broken.finish();
  EXPECT_TRUE(broken.is_closed());
  auto director = join("");
  const auto view = director.view(anything);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->takes.empty());
}

TEST_F(ControlTest, AServerThatStopsSaysSo) {
  auto alice = join("alice");
  ASSERT_TRUE(alice.view(anything));
  std::thread stopping([this] { server_->stop(); });
  EXPECT_FALSE(alice.view([](const auto&) { return false; }));
  EXPECT_EQ(alice.code, 1001);
  stopping.join();
}

}  // namespace
}  // namespace mc::server
