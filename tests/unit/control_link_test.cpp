// The control connection as an agent has it: against a real server, against servers that mean no good, and without one.
#include "control/control_link.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <condition_variable>
#include <fstream>
#include <set>

#include "unit/fake_server.hpp"
#include "unit/server_client.hpp"
#include "wire/control.hpp"

namespace mc::control {
namespace {

using std::chrono::seconds;
using test::FakeAnswer;
using test::FakeRequest;

constexpr char kStudio[] = "studio-a";
constexpr char kStudioSecret[] = "0123456789abcdef0123456789abcdef";
constexpr int kMuchTooLongMs = 60'000;  // a test that hangs fails
constexpr std::uint32_t kNeverMs = 600'000;
constexpr seconds kPromptly{2};  // a second, and a machine that has other things to do

std::int64_t now_ms() { return system_clock().monotonic_ns() / 1'000'000; }

// A link, and what it has told so far.
class Listener {
 public:
  explicit Listener(ControlLinkOptions options) : link_(ControlLink::open(std::move(options)).value()) {}

  // Until `fits` of the news, or of what was last told before.
  template <class Fits>
  bool await(Fits fits) {
    const std::int64_t until_ms = now_ms() + kMuchTooLongMs;
    for (;;) {
      if (fits(*this)) return true;
      const std::int64_t left_ms = until_ms - now_ms();
      if (left_ms <= 0 || !sys::wait_readable(link_->fd(), static_cast<int>(left_ms)).value_or(false)) return false;
      take();
    }
  }
  void take() {
    auto news = link_->take();
    online = news.online;
    trouble = std::move(news.trouble);
    if (trouble) troubles.insert(trouble->message);
    if (!news.view) return;
    ++views;
    versions.push_back(news.view->version);
    view = std::move(news.view);
  }
  bool await_view(std::uint64_t version) {
    return await([version](const Listener& l) { return l.view && l.view->version == version; });
  }
  bool await_online() {
    return await([](const Listener& l) { return l.online; });
  }
  bool await_offline() {
    return await([](const Listener& l) { return !l.online && l.trouble; });
  }
  bool await_trouble(ErrorKind kind, const std::string& words) {
    return await([&](const Listener& l) {
      return l.trouble && l.trouble->kind == kind && l.trouble->message.find(words) != std::string::npos;
    });
  }
  // How long the end of it takes.
  std::chrono::milliseconds end() {
    const std::int64_t begun_ms = now_ms();
    link_.reset();
    return std::chrono::milliseconds(now_ms() - begun_ms);
  }
  ControlLink& link() { return *link_; }

  std::optional<wire::SessionView> view;
  bool online = false;
  std::optional<Error> trouble;
  std::set<std::string> troubles;
  std::vector<std::uint64_t> versions;
  int views = 0;

 private:
  std::unique_ptr<ControlLink> link_;
};

ControlLinkOptions options_for(const std::string& url, const std::string& guest = "alice") {
  return {.base_url = url,
          .session = kStudio,
          .guest = guest,
          .agent = "mc-test 1",
          .ca_file = {},
          .credential = nullptr,
          .connect_timeout_ms = kMuchTooLongMs,
          .poll_ms = kNeverMs,
          .silence_ms = kMuchTooLongMs,
          .backoff = {.base_ms = 20, .cap_ms = 100, .floor_ms = 1},
          .log = no_log()};
}

// Lines of a log, from any thread.
class LogLines {
 public:
  Log log() {
    return [this](LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
    };
  }
  int count(const std::string& words) const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(
        std::ranges::count_if(lines_, [&](const auto& line) { return line.find(words) != std::string::npos; }));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

// --- a real server ------------------------------------------------------------------------------------------------

// Hears what a rig says of itself.
class Audience final : public server::SessionSubscriber {
 public:
  void on_notice(server::Notice) override {}
  void on_replaced() override {}
  void on_telemetry(const wire::Telemetry& telemetry) override {
    const std::lock_guard lock(mutex_);
    heard_.push_back(telemetry);
    changed_.notify_all();
  }
  // The first for which `fits`.
  template <class Fits>
  std::optional<wire::Telemetry> hear(Fits fits) {
    std::unique_lock lock(mutex_);
    for (std::size_t next = 0;;) {
      for (; next < heard_.size(); ++next) {
        if (fits(heard_[next])) return heard_[next];
      }
      const auto enough = std::chrono::system_clock::now() + std::chrono::milliseconds(kMuchTooLongMs);
      if (changed_.wait_until(lock, enough) == std::cv_status::timeout) return std::nullopt;
    }
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return heard_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<wire::Telemetry> heard_;
};

class ControlLinks : public server::Connections {
 protected:
  void open_studio() {
    serve();
    post("");
  }
  void post(const std::string& action) {
    server::Request request;
    request.method = "POST";
    request.target = action.empty() ? wire::sessions_target() : wire::session_target(kStudio, action);
    if (authority_) request.headers.authorization = "Bearer " + token(wire::Role::admin);
    const auto body = action.empty() ? wire::format_new_session({kStudio, {"alice", "bob"}}) : "";
    const server::Response response = service_->command(request, body);
    ASSERT_LT(response.status, 300) << response.body;
  }
  std::string url() const { return server_->urls().front(); }
  // The same store, port and key; `tls` as given.
  void serve_again(const std::string& at) {
    server_.reset();
    start();
    server::Options options;
    options.listen = {server::parse_listen_address(at.substr(at.rfind('/') + 1)).value()};
    server_ = server::Server::start(*service_, metrics_, options, no_log(), nullptr).value();
  }
  void ask_for_tokens() {
    std::ofstream(secrets_ / "secret") << kStudioSecret << "\n";
    ::chmod((secrets_ / "secret").c_str(), 0600);
    authority_ =
        server::Authority::open(sys::real_file_system(), secrets_ / "secret", server::SecretMode::owner_only, no_log())
            .value();
    service_.emplace(*store_, *index_, key_, public_key_, metrics_, no_log(),
                     server::Policy{authority_.get(), nullptr});
  }
  std::string token(wire::Role role, const std::string& guest = {}) {
    wire::TokenClaims claims;
    claims.role = role;
    if (role == wire::Role::guest) claims.session = kStudio;
    claims.guest = guest;
    return authority_->mint(claims).value();
  }
  // A certificate of its own for this host; NAME.pem and NAME.key.
  void certify(const std::string& name, const std::string& host) {
    const std::string command =
        "umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name +
        " -addext subjectAltName=" + host + " -keyout " + (secrets_ / (name + ".key")) + " -out " +
        (secrets_ / (name + ".pem")) + " 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  void serve_tls(const std::string& certificate) {
    server::Options options;
    options.listen = {server::parse_listen_address("127.0.0.1:0").value()};
    options.tls = {secrets_ / (certificate + ".pem"), secrets_ / (certificate + ".key")};
    server_ = server::Server::start(*service_, metrics_, options, no_log(), nullptr).value();
    post("");
  }

  ScratchDirectory secrets_;
  std::unique_ptr<server::Authority> authority_;
};

TEST_F(ControlLinks, TheViewComesAtOnceAndWithEachDecision) {
  open_studio();
  Listener alice(options_for(url()));
  ASSERT_TRUE(alice.await_online());
  ASSERT_TRUE(alice.await_view(1));
  EXPECT_FALSE(alice.trouble);
  post("rec");
  ASSERT_TRUE(alice.await_view(2));
  ASSERT_NE(alice.view->recording(), nullptr);
  EXPECT_EQ(alice.view->recording()->name, "001");
  post("stop");
  ASSERT_TRUE(alice.await_view(3));
  EXPECT_EQ(alice.view->recording(), nullptr);
  // Taken is taken, and then there is nothing to be read.
  EXPECT_FALSE(alice.link().take().view);
  EXPECT_FALSE(sys::wait_readable(alice.link().fd(), 0).value());
}

TEST_F(ControlLinks, WhatARigSaysReachesTheServersView) {
  open_studio();
  const auto audience = std::make_shared<Audience>();
  service_->sessions().board().join(kStudio, "", audience);
  const std::int64_t begun_ms = now_ms();
  Listener alice(options_for(url()));
  wire::Telemetry said;
  said.guest = "somebody else";
  said.state = "recording";
  said.version = 1;
  said.chunks_durable = 3;
  said.sound_peak_db = -std::numeric_limits<double>::infinity();
  alice.link().set_telemetry(said);
  const auto has_chunks = [](std::int64_t n) {
    return [n](const wire::Telemetry& t) { return t.chunks_durable == n; };
  };
  auto heard = audience->hear(has_chunks(3));
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->guest, "alice") << "nobody speaks for another";
  EXPECT_FALSE(heard->sound_peak_db);
  // Many changes are few messages, and the last is among them.
  for (said.chunks_durable = 4; said.chunks_durable < 2000; ++*said.chunks_durable) alice.link().set_telemetry(said);
  alice.link().set_telemetry(said);
  ASSERT_TRUE(audience->hear(has_chunks(2000)));
  const auto heard_in_all = static_cast<std::int64_t>(audience->count());
  EXPECT_LE(heard_in_all, (now_ms() - begun_ms) / 100 + 1);
  // Again when nothing changed; with the clock, once there is one.
  EXPECT_TRUE(audience->hear([](const auto& t) {
    return t.chunks_durable == 2000 && t.clock_offset_us && t.clock_bound_us && t.round_trip_us;
  }));
  const std::size_t so_far = audience->count();
  EXPECT_TRUE(audience->hear([so_far, n = std::size_t{0}](const auto&) mutable { return ++n > so_far; }));
  const auto view = service_->sessions().view(kStudio);
  ASSERT_TRUE(view && *view);
  ASSERT_TRUE((*view)->guests.at(0).telemetry);
  EXPECT_EQ((*view)->guests.at(0).telemetry->chunks_durable, 2000);
}

TEST_F(ControlLinks, AlarmsThatTheServerWouldRefuseAreLeftOut) {
  open_studio();
  const auto audience = std::make_shared<Audience>();
  service_->sessions().board().join(kStudio, "", audience);
  LogLines lines;
  ControlLinkOptions options = options_for(url());
  options.log = lines.log();
  Listener alice(options);
  wire::Telemetry said;
  said.state = "standby";
  said.alarms = {"first", "no UTF-8: \xff", std::string(100'000, 'x')};
  alice.link().set_telemetry(said);
  const auto heard = audience->hear([](const auto&) { return true; });
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->alarms, std::vector<std::string>{"first"});
  EXPECT_EQ(lines.count("not all alarms"), 1);
  EXPECT_TRUE(alice.await_online());
}

TEST_F(ControlLinks, TheSessionClockIsKnownWithinItsBound) {
  open_studio();
  EXPECT_FALSE(Listener(options_for("http://127.0.0.1:1")).link().clock_at(0));
  const auto audience = std::make_shared<Audience>();
  service_->sessions().board().join(kStudio, "", audience);
  Listener alice(options_for(url()));
  wire::Telemetry said;
  said.state = "standby";
  alice.link().set_telemetry(said);
  ASSERT_TRUE(audience->hear([](const auto& t) { return t.clock_offset_us.has_value(); }));
  const std::int64_t before_us = system_clock().monotonic_ns() / 1000;
  const std::int64_t session_us = service_->sessions().clock().wall_ns() / 1000;
  const std::int64_t after_us = system_clock().monotonic_ns() / 1000;
  const auto known = alice.link().clock_at(after_us);
  ASSERT_TRUE(known);
  EXPECT_LE(before_us + known->offset_us - known->bound_us, session_us);
  EXPECT_GE(after_us + known->offset_us + known->bound_us, session_us);
  EXPECT_LT(known->bound_us, 1'000'000);
  EXPECT_TRUE(alice.link().worst_round_trip_us());
}

TEST_F(ControlLinks, AServerThatComesBackFindsItsGuestsAgain) {
  open_studio();
  const std::string at = url();
  Listener alice(options_for(at));
  ASSERT_TRUE(alice.await_view(1));
  ASSERT_TRUE(alice.await_online());
  server_.reset();
  ASSERT_TRUE(alice.await_offline());
  EXPECT_EQ(alice.trouble->kind, ErrorKind::unavailable);
  alice.view.reset();
  serve_again(at);
  ASSERT_TRUE(alice.await_online());
  ASSERT_TRUE(alice.await_view(1)) << "told again, though nothing was decided";
  EXPECT_FALSE(alice.trouble);
  post("rec");
  EXPECT_TRUE(alice.await_view(2));
}

TEST_F(ControlLinks, ARefusedTokenIsReplacedInItsFileAndNothingElseIsNeeded) {
  ask_for_tokens();
  open_studio();
  const std::string path = secrets_ / "token";
  std::ofstream(path) << "x.y.z\n";
  ControlLinkOptions options = options_for(url());
  options.credential = http::Credential::open(path).value();
  Listener alice(options);
  ASSERT_TRUE(alice.await_trouble(ErrorKind::permission, "401"));
  EXPECT_FALSE(alice.online);
  std::ofstream(path) << token(wire::Role::guest, "bob") << "\n";
  ASSERT_TRUE(alice.await_trouble(ErrorKind::refused, "1008")) << "it is for another guest";
  EXPECT_NE(alice.trouble->message.find("not for this guest"), std::string::npos) << alice.trouble->message;
  EXPECT_EQ(alice.views, 0);
  std::ofstream(path) << token(wire::Role::guest, "alice") << "\n";
  EXPECT_TRUE(alice.await_online());
  EXPECT_TRUE(alice.await_view(1));
  EXPECT_FALSE(alice.trouble);
}

TEST_F(ControlLinks, ASessionThatIsNotThereYetIsWaitedFor) {
  serve();
  Listener alice(options_for(url()));
  ASSERT_TRUE(alice.await_trouble(ErrorKind::not_found, "404"));
  post("");
  EXPECT_TRUE(alice.await_online());
}

TEST_F(ControlLinks, ANewerConnectionOfTheSameGuestIsNotThrownOutAtOnce) {
  open_studio();
  ControlLinkOptions options = options_for(url());
  options.backoff.cap_ms = 200;
  Listener older(options);
  ASSERT_TRUE(older.await_online());
  const std::int64_t begun_ms = now_ms();
  Listener newer(options);
  ASSERT_TRUE(newer.await_online());
  ASSERT_TRUE(older.await_trouble(ErrorKind::refused, "took over"));
  EXPECT_FALSE(older.online);
  ASSERT_TRUE(newer.await_trouble(ErrorKind::refused, "took over"));
  EXPECT_GE(now_ms() - begun_ms, 200 * 10 / 2);
  EXPECT_TRUE(older.await_online()) << "and is given up by nobody";
}

TEST_F(ControlLinks, OverTlsOnlyWithTheRightAuthorityAndForTheRightHost) {
  certify("good", "IP:127.0.0.1,DNS:localhost");
  certify("stranger", "IP:127.0.0.1");
  serve_tls("good");
  ControlLinkOptions options = options_for(url());
  ASSERT_TRUE(options.base_url.starts_with("https://"));
  for (const std::string& wrong : {secrets_ / "stranger.pem", std::string()}) {
    options.ca_file = wrong;
    Listener alice(options);
    EXPECT_TRUE(alice.await_trouble(ErrorKind::refused, "is not trusted"));
    EXPECT_FALSE(alice.trouble->hint.empty());
    EXPECT_EQ(alice.views, 0);
  }
  EXPECT_EQ(metrics_.control_connections, 0);
  options.ca_file = secrets_ / "good.pem";
  {
    Listener alice(options);
    EXPECT_TRUE(alice.await_online());
    EXPECT_TRUE(alice.await_view(1));
    post("rec");
    EXPECT_TRUE(alice.await_view(2));
    EXPECT_LT(alice.end(), kPromptly);
  }
  options.base_url = "https://localhost:" + options.base_url.substr(options.base_url.rfind(':') + 1);
  EXPECT_TRUE(Listener(options).await_online()) << "by its name";
}

TEST_F(ControlLinks, ACertificateForAnotherHostIsNotAccepted) {
  certify("other", "DNS:other.example,IP:127.0.0.2");
  serve_tls("other");
  ControlLinkOptions options = options_for(url());
  options.ca_file = secrets_ / "other.pem";
  Listener by_address(options);
  EXPECT_TRUE(by_address.await_trouble(ErrorKind::refused, "not trusted")) << "another address";
  options.base_url = "https://localhost:" + options.base_url.substr(options.base_url.rfind(':') + 1);
  Listener by_name(options);
  EXPECT_TRUE(by_name.await_trouble(ErrorKind::refused, "not for 'localhost'"));
  EXPECT_EQ(by_name.views + by_address.views, 0);
}

// --- servers that are none ----------------------------------------------------------------------------------------

std::string view_json(std::uint64_t version, const std::string& id = std::string(32, 'a'),
                      const std::string& name = kStudio) {
  wire::SessionView view;
  view.name = name;
  view.id = id;
  view.version = version;
  view.now_ns = 1'795'000'000'000'000'000;
  return json::to_text(wire::to_json(view));
}
std::string session_message(std::uint64_t version, const std::string& id = std::string(32, 'a'),
                            const std::string& name = kStudio) {
  return R"({"type":"session","session":)" + view_json(version, id, name) + "}";
}

// RFC 6455 5.2, from a server: not masked.
std::string frame(const std::string& payload, int opcode = 1) {
  std::string out(1, static_cast<char>(0x80 | opcode));
  if (payload.size() < 126) {
    out += static_cast<char>(payload.size());
  } else {
    out += '\x7e';
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xff);
  }
  return out + payload;
}
std::string close_frame(int code) { return frame({static_cast<char>(code >> 8), static_cast<char>(code & 0xff)}, 8); }

// Accepts and says nothing.
class MuteServer {
 public:
  MuteServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    EXPECT_EQ(::bind(listener_.get(), address, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    EXPECT_EQ(::getsockname(listener_.get(), address, &size), 0);
  }
  std::string url(const std::string& scheme) const {
    return scheme + "://127.0.0.1:" + std::to_string(ntohs(address_.sin_port));
  }
  // One more that has said something by now.
  bool hears_one() {
    if (!sys::wait_readable(listener_.get(), kMuchTooLongMs).value_or(false)) return false;
    peers_.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return sys::wait_readable(peers_.back().get(), kMuchTooLongMs).value_or(false);
  }

 private:
  sys::Fd listener_;
  sockaddr_in address_{};
  std::vector<sys::Fd> peers_;
};

bool is_upgrade(const FakeRequest& request) { return request.headers.contains("upgrade"); }
// The answer to an upgrade, with what follows; then nothing more comes.
FakeAnswer accept_with(const FakeRequest& request, const std::string& frames, bool with_protocol = true) {
  const std::string text = request.headers.at("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> hash{};
  EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha1(), nullptr);
  std::array<unsigned char, 29> accept{};
  EVP_EncodeBlock(accept.data(), hash.data(), hash.size());
  std::string head =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
      std::string(reinterpret_cast<const char*>(accept.data())) + "\r\n";
  if (with_protocol) head += std::string("Sec-WebSocket-Protocol: ") + wire::kControlProtocol + "\r\n";
  return {.body = head + "\r\n" + frames, .fate = FakeAnswer::Fate::hang};
}

TEST(ControlLink, WithoutWebSocketViewsComeByPolling) {
  struct Answer {
    int status;
    ErrorKind kind;
  };
  for (const Answer answer : {Answer{404, ErrorKind::not_found}, Answer{426, ErrorKind::refused},
                              Answer{502, ErrorKind::unavailable}, Answer{302, ErrorKind::protocol}}) {
    std::uint64_t version = 1;
    std::set<std::string> seen;
    test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
      if (is_upgrade(request)) {
        seen.insert(request.target + " " + request.headers.at("user-agent"));
        return {.status = answer.status};
      }
      EXPECT_EQ(request.target, "/room/v1/sessions/studio-a");
      return {.body = view_json(version)};
    });
    ControlLinkOptions options = options_for(server.url() + "/room");
    options.poll_ms = 500;
    Listener alice(options);
    ASSERT_TRUE(alice.await_view(1));
    const std::int64_t begun_ms = now_ms();
    server.locked([&] { return version = 2; });
    ASSERT_TRUE(alice.await_view(2));
    EXPECT_LE(now_ms() - begun_ms, 2 * 500);
    EXPECT_FALSE(alice.online);
    // The view's own time is what there is of the clock. This server's stands.
    const std::int64_t here_us = system_clock().monotonic_ns() / 1000;
    const auto clock = alice.link().clock_at(here_us);
    ASSERT_TRUE(clock);
    EXPECT_NEAR(static_cast<double>(here_us + clock->offset_us), 1'795'000'000e6, 10e6);
    EXPECT_TRUE(alice.await_trouble(answer.kind, std::to_string(answer.status)));
    EXPECT_EQ(server.locked([&] { return seen; }),
              std::set<std::string>{"/room/v1/sessions/studio-a/control mc-test 1"});
  }
}

TEST(ControlLink, NobodyPollsWhileTheConnectionIsThere) {
  std::atomic<int> polled = 0, upgraded = 0;
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    if (!is_upgrade(request)) {
      ++polled;
      return {.body = view_json(1)};
    }
    // Later connections are never told the session: they are none yet.
    return accept_with(request, upgraded++ == 0 ? frame(session_message(1)) : "");
  });
  ControlLinkOptions options = options_for(server.url());
  options.poll_ms = 100;
  options.silence_ms = 2'000;
  Listener alice(options);
  ASSERT_TRUE(alice.await_online());
  const int before = polled;
  ASSERT_TRUE(alice.await_trouble(ErrorKind::unavailable, "nothing was heard"));
  EXPECT_LE(polled - before, 10) << "two seconds would have been twenty";
  alice.view.reset();
  EXPECT_TRUE(alice.await_view(1)) << "and now they do";
  EXPECT_GT(polled, before);
}

TEST(ControlLink, AConnectionThatHasGoneQuietIsDoubtedBeforeItIsGivenUp) {
  std::atomic<bool> is_quiet = false;
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    if (!is_upgrade(request)) return {.body = view_json(is_quiet ? 2 : 1)};
    return accept_with(request, frame(session_message(1)));
  });
  ControlLinkOptions options = options_for(server.url());
  options.poll_ms = 1'000;
  Listener alice(options);
  ASSERT_TRUE(alice.await_online());
  is_quiet = true;
  ASSERT_TRUE(alice.await_view(2));
  EXPECT_TRUE(alice.online) << "long before it counts as dead";
}

TEST(ControlLink, AVersionThatGoesBackIsOnlyBelievedOfWhoWasAskedLater) {
  std::vector<std::string> scripts = {frame(session_message(5)) + frame(session_message(4)) +
                                          frame(session_message(5)) + frame(session_message(7)) + close_frame(1001),
                                      // The server came back with an older store.
                                      frame(session_message(3)) + frame(session_message(2)) + close_frame(1001),
                                      // And with another session of the same name.
                                      frame(session_message(1, std::string(32, 'b')))};
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    if (!is_upgrade(request)) return {.status = 503};
    const std::string script = scripts.front();
    if (scripts.size() > 1) scripts.erase(scripts.begin());
    return accept_with(request, script);
  });
  LogLines lines;
  ControlLinkOptions options = options_for(server.url());
  options.log = lines.log();
  Listener alice(options);
  ASSERT_TRUE(alice.await([](const Listener& l) { return l.view && l.view->id == std::string(32, 'b'); }));
  alice.end();
  for (const std::uint64_t version : alice.versions) EXPECT_TRUE(version != 4 && version != 2) << version;
  EXPECT_EQ(lines.count("went back from version 7 to 3"), 1);
  EXPECT_EQ(lines.count("went back"), 1);
  EXPECT_EQ(lines.count("another one now"), 1);
}

TEST(ControlLink, WhatIsNotUnderstoodEndsTheConnectionAndIsTold) {
  struct Bad {
    std::string frames, words;
    ErrorKind kind = ErrorKind::protocol;
  };
  using namespace std::string_literals;
  const std::vector<Bad> all = {
      {frame("no JSON"), "not understood"},
      {frame(R"({"type":"session","session":{}})"), "not understood"},
      {frame(session_message(1, std::string(32, 'a'), "studio-b")), "another session"},
      {frame(session_message(1), 2), "no text"},
      {"\x81\x7f\x00\x00\x00\x00\x7f\xff\xff\xff"s, ""},  // a message of two gigabytes
      {"\xf1\x00"s, ""},                                  // bits that mean nothing
      {"\x81\x81\x00\x00\x00\x00x"s, ""},                 // masked by a server
      {"\x81\x01\xff"s, ""},                              // no UTF-8
      {"HTTP/1.1 200 OK\r\n\r\n", ""},
      {frame(R"({"type":"problem","problem":{"type":"not-allowed","status":403,"title":"no\u001b[1m"}})") +
           close_frame(1008),
       "(1008): no [1m", ErrorKind::refused},
      {close_frame(1013), "(1013)", ErrorKind::unavailable},
      {close_frame(4000), "took over", ErrorKind::refused},
  };
  for (const Bad& bad : all) {
    std::atomic<int> upgrades = 0;
    test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
      ++upgrades;
      return accept_with(request, bad.frames);
    });
    Listener alice(options_for(server.url()));
    EXPECT_TRUE(alice.await_trouble(bad.kind, bad.words))
        << bad.words << " but " << (alice.trouble ? alice.trouble->message : "nothing");
    EXPECT_FALSE(alice.online);
    EXPECT_EQ(alice.views, 0);
    EXPECT_LT(alice.end(), kPromptly);
    EXPECT_LE(upgrades, 50) << "it waits between its tries";
  }
}

TEST(ControlLink, WhoDoesNotChooseTheProtocolSpeaksAnotherOne) {
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    EXPECT_EQ(request.headers.at("sec-websocket-protocol"), wire::kControlProtocol);
    return accept_with(request, frame(session_message(1)), false);
  });
  Listener alice(options_for(server.url()));
  EXPECT_TRUE(alice.await_trouble(ErrorKind::protocol, wire::kControlProtocol));
  EXPECT_EQ(alice.views, 0);
}

TEST(ControlLink, WhatIsUnknownIsPassedOverAndSoIsATimeThatWasNotAskedFor) {
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    return accept_with(request, frame(R"({"type":"from-the-future","x":[1]})") +
                                    frame(R"({"type":"clock","t1_us":1,"t2_us":5,"t3_us":5})") +
                                    frame(R"({"type":"clock","t1_us":1})") + frame("", 9) + frame(session_message(1)));
  });
  Listener alice(options_for(server.url()));
  EXPECT_TRUE(alice.await_view(1));
  EXPECT_TRUE(alice.await_online());
  EXPECT_FALSE(alice.link().clock_at(0));
}

TEST(ControlLink, SilenceEndsItWhereverItBeginsAndTheEndDoesNotWaitForIt) {
  for (const char* scheme : {"http", "https"}) {
    MuteServer mute;
    ControlLinkOptions options = options_for(mute.url(scheme));
    options.poll_ms = 1;
    {
      Listener alice(options);
      EXPECT_TRUE(mute.hears_one() && mute.hears_one());
      EXPECT_LT(alice.end(), kPromptly) << "in the middle of upgrade, request and TLS handshake";
    }
    options.poll_ms = kNeverMs;
    options.connect_timeout_ms = 100;
    Listener alice(options);
    EXPECT_TRUE(alice.await_trouble(ErrorKind::unavailable, "no answer"));
    EXPECT_LT(alice.end(), kPromptly);
  }
  test::FakeServer upgrades([](const FakeRequest& request) { return accept_with(request, ""); });
  ControlLinkOptions options = options_for(upgrades.url());
  options.silence_ms = 100;
  Listener alice(options);
  EXPECT_TRUE(alice.await_trouble(ErrorKind::unavailable, "nothing was heard"));
  EXPECT_LT(alice.end(), kPromptly);
}

TEST(ControlLink, WhatCannotBeIsSaidAtOnce) {
  const auto kind_of = [](ControlLinkOptions options) {
    const auto link = ControlLink::open(std::move(options));
    return link ? ErrorKind::bug : link.error().kind;
  };
  EXPECT_EQ(kind_of(options_for("ftp://127.0.0.1")), ErrorKind::usage);
  EXPECT_EQ(kind_of(options_for("http://")), ErrorKind::usage);
  EXPECT_EQ(kind_of(options_for("http://127.0.0.1", "../x")), ErrorKind::usage);
  ControlLinkOptions options = options_for("http://127.0.0.1");
  options.session = "";
  EXPECT_EQ(kind_of(options), ErrorKind::usage);
  options = options_for("https://127.0.0.1");
  options.ca_file = "/nowhere/ca.pem";
  EXPECT_EQ(kind_of(options), ErrorKind::config);
}

}  // namespace
}  // namespace mc::control
