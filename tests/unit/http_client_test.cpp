#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "http/answer.hpp"
#include "http/client.hpp"
#include "unit/fake_server.hpp"

namespace mc::http {
namespace {

using test::FakeAnswer;
using test::FakeRequest;
using test::FakeServer;

Client open_client(ClientOptions options = {}) { return std::move(*Client::open(std::move(options))); }

TEST(Client, PutFromMemoryArrivesWithItsHeaders) {
  FakeRequest seen;
  FakeServer server([&](const FakeRequest& request) {
    seen = request;
    return FakeAnswer{.status = 201};
  });
  Client client = open_client();
  const std::string body = "hello";
  const auto answer = client.perform({.method = "PUT",
                                      .url = server.url() + "/v1/x",
                                      .headers = {{"Repr-Digest", "sha-256=:abc:"}},
                                      .body = as_bytes(body)});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 201);
  EXPECT_TRUE(answer->ok());
  EXPECT_EQ(seen.method, "PUT");
  EXPECT_EQ(seen.target, "/v1/x");
  EXPECT_EQ(seen.body, body);
  EXPECT_EQ(seen.headers["repr-digest"], "sha-256=:abc:");
  EXPECT_EQ(seen.headers.count("expect"), 0U);
}

TEST(Client, PutFromAFileArrivesWhole) {
  const std::string path = testing::TempDir() + "http_client_put";
  std::filesystem::remove(path);
  std::string body(3'000'000, 'x');
  for (std::size_t i = 0; i < body.size(); i += 7) body[i] = static_cast<char>(i);
  ASSERT_TRUE(sys::stage_file(sys::real_file_system(), path, as_bytes(body)));
  std::string seen;
  FakeServer server([&](const FakeRequest& request) {
    seen = request.body;
    return FakeAnswer{.status = 201};
  });
  Client client = open_client();
  auto file = sys::real_file_system().open_read(path);
  ASSERT_TRUE(file);
  const auto answer =
      client.perform({.method = "PUT", .url = server.url() + "/f", .body = FileBody{file->get(), body.size()}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->sent_bytes, body.size());
  EXPECT_TRUE(seen == body);
}

TEST(Client, AFileThatIsShorterThanSaidIsAnErrorOfTheFile) {
  const std::string path = testing::TempDir() + "http_client_short";
  ASSERT_TRUE(sys::stage_file(sys::real_file_system(), path, as_bytes("abc")));
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.status = 201}; });
  Client client = open_client();
  auto file = sys::real_file_system().open_read(path);
  const auto answer = client.perform({.method = "PUT", .url = server.url() + "/f", .body = FileBody{file->get(), 10}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::damaged);
}

TEST(Client, TheConnectionIsKept) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{}; });
  Client client = open_client();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.perform({.url = server.url() + "/"}));
  EXPECT_EQ(server.connections(), 1);
}

TEST(Client, GetGoesToTheSinkAndErrorsDoNot) {
  FakeServer server([](const FakeRequest& request) {
    if (request.target == "/bad") return FakeAnswer{.status = 404, .body = "no such thing"};
    return FakeAnswer{.body = "content"};
  });
  Client client = open_client();
  std::string got;
  const auto sink = [&](ByteView piece) -> Status {
    got += as_text(piece);
    return {};
  };
  ASSERT_TRUE(client.perform({.url = server.url() + "/good", .sink = sink}));
  EXPECT_EQ(got, "content");
  const auto bad = client.perform({.url = server.url() + "/bad", .sink = sink});
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->status, 404);
  EXPECT_EQ(bad->body, "no such thing");
  EXPECT_EQ(got, "content");
}

TEST(Client, HeadHasHeadersAndNoBody) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.body = "12345", .more_headers = {"ETag: \"x\""}}; });
  Client client = open_client();
  const auto answer = client.perform({.method = "HEAD", .url = server.url() + "/"});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->header("content-length"), "5");
  EXPECT_EQ(answer->header("etag"), "\"x\"");
  EXPECT_TRUE(answer->body.empty());
}

TEST(Client, NobodyListeningIsToBeTriedAgain) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{}; });
  const std::string url = server.url();
  server.stop();
  Client client = open_client();
  const auto answer = client.perform({.url = url + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_NE(answer.error().message.find("cannot get '" + url), std::string::npos) << answer.error().message;
}

TEST(Client, AServerThatHangsUpIsToBeTriedAgain) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.fate = FakeAnswer::Fate::hang_up}; });
  Client client = open_client();
  const auto answer = client.perform({.url = server.url() + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
}

TEST(Client, ATornAnswerIsToBeTriedAgain) {
  FakeServer server([](const FakeRequest&) {
    return FakeAnswer{.body = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", .fate = FakeAnswer::Fate::raw};
  });
  Client client = open_client();
  const auto answer = client.perform({.url = server.url() + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
}

TEST(Client, WhatIsNotHttpIsAProtocolError) {
  FakeServer server(
      [](const FakeRequest&) { return FakeAnswer{.body = "220 mail ready\r\n", .fate = FakeAnswer::Fate::raw}; });
  Client client = open_client();
  const auto answer = client.perform({.url = server.url() + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::protocol) << answer.error().message;
}

TEST(Client, ARedirectToAnotherSchemeIsAProtocolErrorEachTime) {
  FakeServer server(
      [&](const FakeRequest&) { return FakeAnswer{.status = 302, .more_headers = {"Location: file:///etc/passwd"}}; });
  Client client = open_client();
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.perform({.method = "GET", .url = server.url()});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::protocol) << answer.error().message;
  }
}

// A kept-alive connection that dies under a long request: libcurl would send all of it again by itself.
TEST(Client, ALongPutThatBreaksOnAKeptConnectionIsTheCallersToRepeat) {
  std::vector<std::string> methods;
  FakeServer server([&](const FakeRequest& request) {
    methods.push_back(request.method);
    return FakeAnswer{.fate = methods.size() == 1 ? FakeAnswer::Fate::answer : FakeAnswer::Fate::hang_up};
  });
  Client client = open_client();
  ASSERT_TRUE(client.perform({.method = "GET", .url = server.url()}));
  const std::string body(3'000'000, 'x');
  const auto answer = client.perform({.method = "PUT", .url = server.url(), .body = as_bytes(body)});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable) << answer.error().message;
  EXPECT_NE(answer.error().message.find("the connection broke"), std::string::npos) << answer.error().message;
  server.stop();  // its threads write to `methods`
  EXPECT_EQ(methods, (std::vector<std::string>{"GET", "PUT"}));
}

TEST(Client, AnAnswerBeyondTheLimitIsAProtocolError) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.body = std::string(5000, 'x')}; });
  Client client = open_client();
  const auto answer = client.perform({.url = server.url() + "/", .sink = {}, .body_limit_bytes = 4096});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::protocol);
}

TEST(Client, AStalledServerIsGivenUpAfterTheStallTimeout) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.fate = FakeAnswer::Fate::hang}; });
  Client client = open_client({.stall_timeout_s = 1});
  const auto answer = client.perform({.url = server.url() + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(answer.error().sys_errno, 0);
}

TEST(Client, TheServerMayTakeItsTimeForAnAnswerButNotInTheMiddleOfOne) {
  FakeServer server([](const FakeRequest&) {
    return FakeAnswer{.body = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", .fate = FakeAnswer::Fate::hang};
  });
  Client client = open_client({.stall_timeout_s = 1});
  const std::string body = "x";
  for (const Request& request :
       {Request{.url = server.url() + "/", .answer_timeout_s = 3600},
        Request{.method = "PUT", .url = server.url() + "/", .body = as_bytes(body), .answer_timeout_s = 3600}}) {
    const auto answer = client.perform(request);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  }
}

TEST(Client, AnAnswerIsAwaitedForLongerThanAStallLasts) {
  FakeServer stalled([](const FakeRequest&) { return FakeAnswer{.fate = FakeAnswer::Fate::hang}; });
  FakeServer server([&](const FakeRequest&) {
    Client another = open_client({.stall_timeout_s = 1});
    for (int i = 0; i < 2; ++i) EXPECT_FALSE(another.perform({.url = stalled.url() + "/"}));
    return FakeAnswer{.body = "done"};
  });
  Client client = open_client({.stall_timeout_s = 1});
  const auto answer = client.perform({.url = server.url() + "/", .answer_timeout_s = 60});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "done");
}

TEST(Client, AConnectThatNobodyAnswersIsGivenUpAfterTheConnectTimeout) {
  // A listener whose queue is full drops what comes.
  const sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::vector<sys::Fd> queue;
  for (int i = 0; i < 4; ++i) {
    queue.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::connect(queue.back().get(), reinterpret_cast<sockaddr*>(&address), size);
  }
  Client client = open_client({.connect_timeout_ms = 200});
  const auto answer = client.perform({.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable) << answer.error().message;
}

TEST(Client, TheProxyIsThatOfTheEnvironment) {
  std::vector<std::string> targets;
  FakeServer proxy([&](const FakeRequest& request) {
    targets.push_back(request.target);
    return FakeAnswer{.status = 201};
  });
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.status = 200}; });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  Client client = open_client();
  EXPECT_EQ(client.perform({.method = "PUT", .url = "http://ingest.invalid/x", .body = as_bytes("y")})->status, 201);
  ::setenv("no_proxy", "127.0.0.1", 1);
  EXPECT_EQ(client.perform({.url = server.url() + "/"})->status, 200);
  ::unsetenv("http_proxy");
  ::unsetenv("no_proxy");
  proxy.stop();
  EXPECT_EQ(targets, std::vector<std::string>{"http://ingest.invalid/x"});
}

TEST(RateLimit, GivesWhatTheTimeBroughtAndKeepsATenthOfASecondOfIt) {
  constexpr std::int64_t kMs = 1'000'000;
  RateLimit limit(1'000'000);
  EXPECT_EQ(limit.take(1000, 0), 0U) << "nothing came yet";
  EXPECT_EQ(limit.take(1000, 1 * kMs), 1000U);
  EXPECT_EQ(limit.take(500'000, 11 * kMs), 0U) << "no crumbs";
  EXPECT_EQ(limit.take(500'000, 10'000 * kMs), 100'000U) << "what was not used is not saved up";
  EXPECT_EQ(limit.take(500'000, 10'000 * kMs), 0U);
}

TEST(RateLimit, OfAFewBytesAFewAreGiven) {
  RateLimit limit(3);
  std::uint64_t given = 0;
  for (std::int64_t ms = 0; ms <= 10'000; ms += 20) given += limit.take(1000, ms * 1'000'000);
  EXPECT_GE(given, 25U);
  EXPECT_LE(given, 30U);
}

TEST(RateLimit, HoldsForAllClientsThatShareIt) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{.status = 201}; });
  ClientOptions options;
  options.send_limit = std::make_shared<RateLimit>(1'000'000);
  const std::string body(150'000, 'x');
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Client client = open_client(options);
      const auto answer = client.perform({.method = "PUT", .url = server.url(), .body = as_bytes(body)});
      EXPECT_TRUE(answer && answer->status == 201);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(200));
}

TEST(Client, TheStopDescriptorEndsATransferAtOnce) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const sys::Fd read_end(ends[0]);
  const sys::Fd write_end(ends[1]);
  FakeServer server([&](const FakeRequest&) {
    EXPECT_EQ(::write(write_end.get(), "s", 1), 1);
    return FakeAnswer{.fate = FakeAnswer::Fate::hang};
  });
  Client client = open_client({.stop_fd = read_end.get()});
  const auto answer = client.perform({.url = server.url() + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().sys_errno, EINTR);
}

TEST(Client, AnotherServersCertificateIsRefusedAndAMissingCaFileIsAConfigurationError) {
  FakeServer server([](const FakeRequest&) { return FakeAnswer{}; });
  Client client = open_client({.ca_file = "/nonexistent.pem"});
  const auto answer = client.perform({.url = "https" + server.url().substr(4) + "/"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::config) << answer.error().message;
}

TEST(Url, OfAServerIsCheckedAndTrimmed) {
  EXPECT_EQ(*check_base_url("http://h:80/"), "http://h:80");
  EXPECT_EQ(*check_base_url("https://h/prefix//"), "https://h/prefix");
  for (const char* bad : {"", "h", "ftp://h", "http://", "http://user:pw@h", "http://h/?x", "file:///etc/passwd"}) {
    const auto url = check_base_url(bad);
    ASSERT_FALSE(url) << bad;
    EXPECT_EQ(url.error().kind, ErrorKind::usage);
  }
}

Response answer_of(int status, std::string type = {}, std::string body = {}) {
  Response response;
  response.status = status;
  response.headers = {{"content-type", std::move(type)}};
  response.body = std::move(body);
  return response;
}

TEST(Answer, StatusDecidesWhetherToTryAgain) {
  for (const int status : {408, 425, 429, 500, 502, 503, 504, 507}) {
    EXPECT_EQ(status_error(answer_of(status), "x").kind, ErrorKind::unavailable) << status;
  }
  for (const int status : {401, 403, 407}) {
    EXPECT_EQ(status_error(answer_of(status), "x").kind, ErrorKind::permission) << status;
  }
  for (const int status : {400, 404, 405, 409, 410, 411, 413, 422, 501, 505}) {
    EXPECT_EQ(status_error(answer_of(status), "x").kind, ErrorKind::refused) << status;
  }
  for (const int status : {100, 301, 304}) {
    EXPECT_EQ(status_error(answer_of(status), "x").kind, ErrorKind::protocol) << status;
  }
}

TEST(Answer, TheServersWordsAreCarriedOnOneLine) {
  const auto error = status_error(
      answer_of(
          409, "application/problem+json",
          wire::format_problem({.type = "conflict", .status = 409, .title = "other bytes", .detail = "line\nbreak"})),
      "upload 'a'");
  EXPECT_EQ(error.message, "cannot upload 'a': the server answered 409 (other bytes: line break)");
}

TEST(Answer, RetryAfterIsReadInSecondsOnly) {
  Response response = answer_of(503);
  EXPECT_EQ(retry_after_ms(response), 0U);
  response.headers.emplace_back("retry-after", "7");
  EXPECT_EQ(retry_after_ms(response), 7000U);
  response.headers.back().second = "99999999";
  EXPECT_EQ(retry_after_ms(response), 3'600'000U);
  response.headers.back().second = "Fri, 31 Dec 1999 23:59:59 GMT";
  EXPECT_EQ(retry_after_ms(response), 0U);
}

}  // namespace
}  // namespace mc::http
