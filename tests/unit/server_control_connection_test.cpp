// The control connection with a real WebSocket client: who is told what and when, and peers that mean no good.
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <future>

#include "unit/server_client.hpp"
#include "wire/control.hpp"

namespace mc::server {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using boost::system::error_code;

constexpr char kRoom[] = "studio-a";
constexpr char kRoomSecret[] = "0123456789abcdef0123456789abcdef";
constexpr std::chrono::seconds kTooLong{20};  // a test that hangs fails

// One WebSocket to the server; blocking, with a deadline for each step.
class WebSocketClient {
 public:
  WebSocketClient(const std::string& url, std::string target, std::string token = {})
      : host_(url.substr(url.rfind('/') + 1)), target_(std::move(target)), token_(std::move(token)), ws_(io_) {
    const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    beast::get_lowest_layer(ws_).socket().connect({net::ip::address_v4::loopback(), port});
    socket().set_option(net::ip::tcp::no_delay(true));
  }
  // The status of the answer to the upgrade; 101: it is one now.
  int upgrade() {
    ws_.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(beast::http::field::sec_websocket_protocol, wire::kControlProtocol);
      if (!token_.empty()) request.set(beast::http::field::authorization, "Bearer " + token_);
    }));
    await([&](auto done) { ws_.async_handshake(response, host_, target_, done); });
    return static_cast<int>(response.result_int());
  }
  error_code say(const std::string& text) {
    return await(
        [&](auto done) { ws_.async_write(net::buffer(text), [done](error_code ec, std::size_t) { done(ec); }); });
  }
  error_code say(const wire::ControlMessage& message) { return say(wire::format_control(message)); }
  error_code say_binary(const std::string& bytes) {
    ws_.binary(true);
    const error_code ec = say(bytes);
    ws_.binary(false);
    return ec;
  }
  // The next message; nothing: the connection is over, and `code` says why.
  std::optional<wire::ControlMessage> hear() {
    beast::flat_buffer buffer;
    const error_code ec =
        await([&](auto done) { ws_.async_read(buffer, [done](error_code e, std::size_t) { done(e); }); });
    if (ec) {
      code = ec == websocket::error::closed ? int{ws_.reason().code} : 0;
      return std::nullopt;
    }
    auto message = wire::parse_control({static_cast<const char*>(buffer.data().data()), buffer.size()});
    EXPECT_TRUE(message);
    return message ? std::optional(std::move(*message)) : std::nullopt;
  }
  // The next of this kind for which `fits`; others are passed over.
  template <class Message, class Fits>
  std::optional<Message> hear_one(Fits fits) {
    while (auto message = hear()) {
      auto* one = std::get_if<Message>(&*message);
      if (one != nullptr && fits(*one)) return std::move(*one);
    }
    return std::nullopt;
  }
  template <class Message>
  std::optional<Message> hear_one() {
    return hear_one<Message>([](const Message&) { return true; });
  }
  // Why the server ended it, after whatever it said before.
  int ended_with() {
    while (hear()) {
    }
    return code;
  }
  net::ip::tcp::socket& socket() { return beast::get_lowest_layer(ws_).socket(); }

  websocket::response_type response;
  int code = 0;

 private:
  template <class Start>
  error_code await(Start start) {
    std::optional<error_code> answer;
    start([&answer](error_code ec) { answer = ec; });
    const auto until = std::chrono::steady_clock::now() + kTooLong;
    io_.restart();
    while (!answer && std::chrono::steady_clock::now() < until) io_.run_one_until(until);
    if (!answer) {
      ADD_FAILURE() << "the server does not answer";
      socket().close();
      while (!answer && io_.run_one() > 0) {
      }
    }
    return answer.value_or(net::error::timed_out);
  }

  std::string host_, target_, token_;
  net::io_context io_;
  websocket::stream<beast::tcp_stream> ws_;
};

class ControlConnections : public Connections {
 protected:
  // A server with a session in it, asked for tokens or not.
  void open_room(std::vector<std::string> guests = {"alice", "bob"}, Limits limits = {}) {
    serve(limits);
    const Response made = post("", wire::format_new_session({kRoom, std::move(guests)}));
    ASSERT_EQ(made.status, 201) << made.body;
  }
  void ask_for_tokens() {
    std::ofstream(secrets_ / "secret") << kRoomSecret << "\n";
    ::chmod((secrets_ / "secret").c_str(), 0600);
    authority_ =
        Authority::open(sys::real_file_system(), secrets_ / "secret", SecretMode::owner_only, no_log()).value();
    service_.emplace(*store_, *index_, key_, public_key_, metrics_, no_log(), Policy{authority_.get(), nullptr});
  }
  std::string token(wire::Role role, const std::string& session = {}, const std::string& guest = {}) {
    wire::TokenClaims claims;
    claims.role = role;
    claims.session = session;
    claims.guest = guest;
    return authority_->mint(claims).value();
  }
  // As another connection would; `action` empty: a new session.
  Response post(const std::string& action, const std::string& body = {}) {
    Request request;
    request.method = "POST";
    request.target = action.empty() ? wire::sessions_target() : wire::session_target(kRoom, action);
    if (authority_) request.headers.authorization = "Bearer " + token(wire::Role::admin);
    return service_->command(request, body);
  }
  WebSocketClient client(const std::string& token = {}, const std::string& session = kRoom) {
    return WebSocketClient(server_->urls().front(), wire::session_target(session, "control"), token);
  }
  // Sits in the room, and has heard the first view.
  void sit(WebSocketClient& client, const std::string& guest = {}) {
    ASSERT_EQ(client.upgrade(), 101);
    ASSERT_FALSE(client.say(wire::Hello{guest, "test 1"}));
    ASSERT_TRUE(client.hear_one<wire::SessionView>());
  }
  static wire::Telemetry telemetry(const std::string& guest, std::int64_t chunks = 0) {
    wire::Telemetry said;
    said.guest = guest;
    said.state = "recording";
    said.chunks_durable = chunks;
    return said;
  }
  static bool is_online(const wire::SessionView& view, std::size_t guest) { return view.guests.at(guest).online; }

  ScratchDirectory secrets_;
  std::unique_ptr<Authority> authority_;
};

TEST_F(ControlConnections, EverybodyIsToldOfEachDecisionAndTheDirectorOfWhatComes) {
  open_room();
  auto director = client(), alice = client();
  sit(director);
  EXPECT_EQ(director.response[beast::http::field::sec_websocket_protocol], wire::kControlProtocol);
  sit(alice, "alice");
  auto view = director.hear_one<wire::SessionView>([](const auto& v) { return is_online(v, 0); });
  ASSERT_TRUE(view);
  EXPECT_FALSE(is_online(*view, 1));

  ASSERT_EQ(post("rec").status, 200);
  for (WebSocketClient* each : {&director, &alice}) {
    view = each->hear_one<wire::SessionView>([](const auto& v) { return v.version == 2; });
    ASSERT_TRUE(view);
    ASSERT_NE(view->recording(), nullptr);
    EXPECT_GT(view->recording()->t0_ns, view->now_ns);
  }
  wire::Telemetry said = telemetry("alice", 7);
  said.take = "001";
  said.version = 2;
  ASSERT_FALSE(alice.say(said));
  EXPECT_EQ(director.hear_one<wire::Telemetry>(), said);
  ASSERT_EQ(post("stop").status, 200);
  ASSERT_TRUE(alice.hear_one<wire::SessionView>([](const auto& v) { return v.version == 3; }));

  // What the store gets is told as well, and nobody asked.
  const auto holds = [](wire::Holding holding) {
    return [holding](const wire::SessionView& v) { return v.takes.at(0).guests.at(0).holding == holding; };
  };
  put_files(recording_);
  ASSERT_TRUE(director.hear_one<wire::SessionView>(holds(wire::Holding::part)));
  EXPECT_TRUE(audit(recording_, recording_.manifest).synced);
  view = director.hear_one<wire::SessionView>(holds(wire::Holding::all));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->guests.at(0).telemetry, said) << "also for who comes later";
  EXPECT_EQ(view->takes.at(0).state, wire::TakeState::finalizing) << "bob never came";
  alice.socket().close();
  EXPECT_TRUE(director.hear_one<wire::SessionView>([](const auto& v) { return !is_online(v, 0); }));
}

TEST_F(ControlConnections, ANewerConnectionOfAGuestTakesTheOldOnesPlace) {
  open_room();
  auto director = client(), older = client(), newer = client();
  sit(director);
  sit(older, "alice");
  sit(newer, "alice");
  EXPECT_EQ(older.ended_with(), 4000);
  older.socket().close();
  // The older one's end puts nobody offline.
  ASSERT_FALSE(newer.say(telemetry("alice", 1)));
  ASSERT_TRUE(director.hear_one<wire::Telemetry>());
  ASSERT_EQ(post("rec").status, 200);
  const auto view = director.hear_one<wire::SessionView>([](const auto& v) { return v.version == 2; });
  ASSERT_TRUE(view);
  EXPECT_TRUE(is_online(*view, 0));
}

TEST_F(ControlConnections, ManyChangesAreFewViewsAndTheLastOneIsAmongThem) {
  open_room();
  auto director = client();
  sit(director);
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(post("rec").status, 200);
    ASSERT_EQ(post("stop").status, 200);
  }
  std::int64_t views = 0;
  ASSERT_TRUE(
      director.hear_one<wire::SessionView>([&views](const auto& v) { return ++views > 0 && v.version == 101; }));
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
  EXPECT_LE(views, took.count() / 100 + 2);
}

TEST_F(ControlConnections, WhoDoesNotReadHoldsUpNobody) {
  open_room();
  auto director = client(), sleeper = client(), alice = client();
  sit(director);
  sit(sleeper);
  sit(alice, "alice");
  wire::Telemetry said = telemetry("alice");
  said.alarms = {std::string(20'000, 'x')};
  constexpr std::int64_t kMany = 1000;
  for (std::int64_t n = 1; n <= kMany; ++n) {
    said.chunks_durable = n;
    ASSERT_FALSE(alice.say(said));
    ASSERT_TRUE(director.hear_one<wire::Telemetry>([n](const auto& t) { return t.chunks_durable == n; })) << n;
  }
  ASSERT_EQ(post("rec").status, 200);
  EXPECT_TRUE(director.hear_one<wire::SessionView>([](const auto& v) { return v.version == 2; }));
}

TEST_F(ControlConnections, OnlyWhoseTokenItIsSitsThere) {
  ask_for_tokens();
  open_room();
  const std::string alice = token(wire::Role::guest, kRoom, "alice");
  const std::string director = token(wire::Role::director, kRoom);
  EXPECT_EQ(client().upgrade(), 401);
  EXPECT_EQ(client("x.y.z").upgrade(), 401);
  EXPECT_EQ(client(token(wire::Role::director, "studio-b")).upgrade(), 403);
  EXPECT_EQ(client(token(wire::Role::guest, "studio-b", "alice")).upgrade(), 403);
  EXPECT_EQ(client(token(wire::Role::admin), "nowhere").upgrade(), 404);

  const auto refused = [this](const std::string& with, const std::string& guest) {
    auto peer = client(with);
    EXPECT_EQ(peer.upgrade(), 101);
    EXPECT_FALSE(peer.say(wire::Hello{guest, "test 1"}));
    const auto problem = peer.hear_one<wire::Problem>();
    return problem && problem->type == "not-allowed" && peer.ended_with() == websocket::close_code::policy_error;
  };
  EXPECT_TRUE(refused(alice, "bob"));
  EXPECT_TRUE(refused(alice, "")) << "a rig has no use for what others say";
  EXPECT_TRUE(refused(director, "alice"));

  auto good = client(alice), looks_on = client(director), reader = client(token(wire::Role::reader, kRoom));
  sit(good, "alice");
  sit(looks_on);
  sit(reader);
  ASSERT_FALSE(good.say(telemetry("bob", 1)));
  EXPECT_EQ(good.ended_with(), websocket::close_code::policy_error) << "nobody speaks for another";
}

TEST_F(ControlConnections, WhatIsNoUpgradeGetsAnAnswer) {
  open_room();
  const std::string target = wire::session_target(kRoom, "control");
  Client plain = connect();
  plain.send(get_text(target));
  EXPECT_EQ(plain.status(), 426);
  plain.send("POST " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(plain.status(), 405) << "and the connection is good for more";
  for (const char* head : {"Upgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n",
                           "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                           "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"}) {
    Client odd = connect();
    odd.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + head + "\r\n");
    const int status = odd.status();
    EXPECT_TRUE(status == 400 || status == 426) << status << " to " << head;
  }
}

TEST_F(ControlConnections, GarbageEndsItsOwnConnectionAndNoOther) {
  open_room();
  auto director = client();
  sit(director);
  const auto ends = [this](const std::function<void(WebSocketClient&)>& spoil) {
    auto peer = client();
    sit(peer, "alice");
    spoil(peer);
    return peer.ended_with();
  };
  for (const char* text : {"", "no JSON", "[]", "{}", R"({"type":7})", R"({"type":"clock"})", R"({"type":"telemetry"})",
                           R"({"type":"hello","guest":"../x"})", R"({"type":"hello"})"}) {
    EXPECT_EQ(ends([text](WebSocketClient& peer) { (void)peer.say(text); }), websocket::close_code::policy_error)
        << text;
  }
  EXPECT_EQ(ends([](WebSocketClient& peer) { (void)peer.say_binary(R"({"type":"clock","t1_us":1})"); }),
            websocket::close_code::policy_error);
  // Too large is told as soon as the frame's header says so.
  EXPECT_EQ(ends([](WebSocketClient& peer) { (void)peer.say(std::string(wire::kMaxControlBytes + 1, 'x')); }),
            websocket::close_code::too_big);
  EXPECT_EQ(ends([](WebSocketClient& peer) {
              net::write(peer.socket(),
                         net::buffer(std::string("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14)));
            }),
            websocket::close_code::too_big);
  for (const std::string& frame : {std::string("\x81\x02hi"),                   // not masked (RFC 6455 5.1)
                                   std::string("\xf1\x80\0\0\0\0", 6),          // reserved bits
                                   std::string("\x80\x80\0\0\0\0", 6),          // continues nothing
                                   std::string("\x89\xfe\x01\x00\0\0\0\0", 8),  // a ping of 256 bytes
                                   std::string("\x81\x81\0\0\0\0\xff", 7)}) {   // no UTF-8
    const int code = ends([&](WebSocketClient& peer) { net::write(peer.socket(), net::buffer(frame)); });
    EXPECT_TRUE(code == websocket::close_code::protocol_error || code == websocket::close_code::bad_payload) << code;
  }
  // An unknown type and unknown members are none of it.
  ASSERT_FALSE(director.say(R"({"type":"from-the-future","x":[1]})"));
  ASSERT_FALSE(director.say(R"({"type":"clock","t1_us":1,"more":{}})"));
  EXPECT_TRUE(director.hear_one<wire::ClockAnswer>());
}

TEST_F(ControlConnections, OneThatEndsAnywhereLeavesNothingBehind) {
  open_room();
  for (int i = 0; i < 20; ++i) {
    auto peer = client();
    if (i % 4 > 0) {
      ASSERT_EQ(peer.upgrade(), 101);
    }
    if (i % 4 > 1) {
      ASSERT_FALSE(peer.say(wire::Hello{"alice", "test 1"}));
    }
    if (i % 4 > 2) net::write(peer.socket(), net::buffer("\x81\xfe", 2));
    peer.socket().close();
  }
  server_.reset();  // would wait for what is left
  EXPECT_EQ(metrics_.control_connections, 0);
  EXPECT_EQ(metrics_.open_connections, 0);
  EXPECT_EQ(service_->sessions().board().subscribers(), 0U);
}

TEST_F(ControlConnections, AStopSaysGoodbyeAndDoesNotWait) {
  Limits limits;
  limits.stop_grace = std::chrono::duration_cast<milliseconds>(kTooLong) * 3;
  open_room({"alice", "bob"}, limits);
  auto director = client(), alice = client(), fresh = client();
  sit(director);
  sit(alice, "alice");
  ASSERT_EQ(fresh.upgrade(), 101);
  const auto began = std::chrono::steady_clock::now();
  auto stopped = std::async(std::launch::async, [this] { server_->stop(); });
  for (WebSocketClient* each : {&director, &alice, &fresh})
    EXPECT_EQ(each->ended_with(), websocket::close_code::going_away);
  for (WebSocketClient* each : {&director, &alice, &fresh}) each->socket().close();
  stopped.get();
  EXPECT_LT(std::chrono::steady_clock::now() - began, kTooLong);
}

TEST_F(ControlConnections, TheyCountAmongTheConnectionsAndAreNotTakenForIdle) {
  Limits limits;
  limits.connections = 2;
  limits.spare_idle = milliseconds(0);
  open_room({"alice", "bob"}, limits);
  auto director = client(), alice = client();
  sit(director);
  sit(alice, "alice");
  EXPECT_EQ(metrics_.control_connections, 2);
  Client third = connect();
  third.send(get_text("/healthz"));
  EXPECT_EQ(third.status(), 503);
  ASSERT_FALSE(alice.say(wire::ClockQuestion{1}));
  EXPECT_TRUE(alice.hear_one<wire::ClockAnswer>());
}

}  // namespace
}  // namespace mc::server
