// The server on real sockets: framing, bodies, pipelining, the log.
#include <gtest/gtest.h>

#include <thread>

#include "base/json.hpp"
#include "unit/server_client.hpp"

namespace mc::server {
namespace {

TEST_F(Connections, KeptAliveAcrossRequests) {
  serve();
  Client client = connect();
  for (std::uint32_t n = 1; n <= 5; ++n) {
    client.send(put_text(wire::chunk_name({n}), "media"));
    EXPECT_EQ(client.status(), 201);
    client.send(get_text(wire::file_target(recording_.path, wire::chunk_name({n}))));
    EXPECT_EQ(client.status(), 200);
    EXPECT_EQ(client.body, "media");
  }
}

TEST_F(Connections, PipelinedRequestsAreAnsweredInOrder) {
  serve();
  Client client = connect();
  std::string all;
  for (std::uint32_t n = 1; n <= 20; ++n) all += put_text(wire::chunk_name({n}), std::string(n * 1000, 'x'));
  all += get_text("/nowhere") + get_text("/healthz");
  client.send(all);
  for (int n = 1; n <= 20; ++n) EXPECT_EQ(client.status(), 201) << n;
  EXPECT_EQ(client.status(), 404);
  EXPECT_EQ(client.status(), 200);
}

TEST_F(Connections, RequestCutAnywhereIntoTwoSegmentsIsTheSame) {
  serve();
  const std::string text = put_text(kChunk, "media");
  for (std::size_t n = 1; n < text.size(); n += 3) {
    Client client = connect();
    client.send(text.substr(0, n));
    client.send(text.substr(n));
    EXPECT_EQ(client.status(), n == 1 ? 201 : 200) << n;
  }
}

TEST_F(Connections, LargeBodiesGoInAndOutInPieces) {
  serve();
  std::string large(5'000'000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 >> 7);
  Client client = connect();
  client.send(put_text(kChunk, large));
  EXPECT_EQ(client.status(), 201);
  client.send(get_text(wire::file_target(recording_.path, kChunk)));
  EXPECT_EQ(client.status(), 200);
  EXPECT_TRUE(client.body == large);
}

TEST_F(Connections, ChunkedBodiesOfAnyChunkSize) {
  serve();
  const std::string bytes(300'000, 'm');
  Client client = connect();
  std::uint32_t n = 0;
  for (const std::size_t size : {std::size_t{1999}, std::size_t{262144}, std::size_t{300000}}) {
    std::string text = put_head(wire::chunk_name({++n}), bytes, "Transfer-Encoding: chunked");
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      const std::string piece = bytes.substr(at, size);
      char length[20];
      std::snprintf(length, sizeof length, "%zx\r\n", piece.size());
      text += length + piece + "\r\n";
    }
    client.send(text + "0\r\n\r\n");
    EXPECT_EQ(client.status(), 201) << size;
  }
}

TEST_F(Connections, EmptyBodies) {
  serve();
  Client client = connect();
  client.send(put_text(kChunk, ""));
  EXPECT_EQ(client.status(), 201);
  client.send(put_head(kChunk, "", "Transfer-Encoding: chunked") + "0\r\n\r\n");
  EXPECT_EQ(client.status(), 200);
  client.send(put_head(kChunk, "", "X-No-Framing: at all"));
  EXPECT_EQ(client.status(), 200);
  client.send(get_text(wire::file_target(recording_.path, kChunk)));
  EXPECT_EQ(client.status(), 200);
  EXPECT_NE(client.head.find("Content-Length: 0\r\n"), std::string::npos);
}

TEST_F(Connections, HeadHasTheLengthAndNoBody) {
  serve();
  Client client = connect();
  client.send(put_text(kChunk, "media"));
  client.status();
  client.head_only = true;
  client.send("HEAD " + wire::file_target(recording_.path, kChunk) + " HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.status(), 200);
  EXPECT_NE(client.head.find("Content-Length: 5\r\n"), std::string::npos);
  client.head_only = false;
  client.send(get_text("/healthz"));
  EXPECT_EQ(client.status(), 200);
  EXPECT_EQ(client.body, "ok\n");
}

// However the header is cut by the reads: each sixteenth of these finds whole fields at each.
TEST_F(Connections, AHeaderIsAsLargeAsItMayBeAndNoLarger) {
  serve();
  std::string fields;
  while (fields.size() < 160'000) fields += "X-Field: value\r\n";
  for (std::size_t padding = 0; padding < 16; ++padding) {
    Client client = connect();
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\nP: " + std::string(padding, 'x') + "\r\n" + fields + "\r\n");
    EXPECT_EQ(client.status(), 431) << padding;
  }
  Client client = connect();
  const std::string begin = "GET /healthz HTTP/1.1\r\nHost: x\r\nP: ";
  const std::size_t room = Limits{}.header_bytes - begin.size() - 4;
  for (const std::size_t padding : {room, room + 1}) {
    client.send(begin + std::string(padding, 'x') + "\r\n\r\n");
    EXPECT_EQ(client.status(), padding == room ? 200 : 431);
  }
}

// What a broken connection carried is kept, and the upload goes on over another one: when the server saw it break, and
// when it did not (the client is the first to know).
TEST_F(Connections, ABrokenUploadGoesOnOverAnotherConnection) {
  serve();
  std::string large(700'000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 131 >> 9);
  // The small one would be stored by one job, did it come as a whole.
  for (const std::string& whole : {large, large.substr(0, 40'000)}) {
    const std::string head = put_head(kChunk, whole, "Content-Length: " + std::to_string(whole.size()));
    const std::string question = "HEAD" + put_head(kChunk, whole, "X: y").substr(3);
    for (const bool was_seen : {true, false}) {
      for (const std::size_t part : {std::size_t{1}, std::size_t{100'000}, std::size_t{262'144}, whole.size() - 1}) {
        if (part >= whole.size()) continue;
        recording_.path.guest =
            std::string(was_seen ? "seen-" : "unseen-") + std::to_string(part) + "-of-" + std::to_string(whole.size());
        const auto target = wire::file_target(recording_.path, kChunk);
        const auto with_target = [&](std::string text) {
          const auto at = text.find(' ') + 1;
          return text.replace(at, text.find(' ', at) - at, target);
        };
        std::optional<Client> broken = connect();
        metrics_.received_bytes = 0;
        broken->send(with_target(head) + whole.substr(0, part));
        while (metrics_.received_bytes == 0) std::this_thread::yield();
        if (was_seen) broken.reset();
        Client client = connect();
        client.head_only = true;
        std::size_t offset = 0;
        // How much had arrived when it broke is the kernel's affair, but a part is there.
        client.send(with_target(question));
        ASSERT_EQ(client.status(), 204) << recording_.path.guest;
        const auto at = client.head.find("Upload-Offset: ");
        ASSERT_NE(at, std::string::npos) << client.head;
        offset = std::stoul(client.head.substr(at + 15));
        EXPECT_GT(offset, 0U);
        EXPECT_LE(offset, part);
        EXPECT_EQ(client.head.find("Content-Length"), std::string::npos) << "RFC 9110 8.6";
        client.head_only = false;
        client.send("PATCH" +
                    with_target(put_head(kChunk, whole,
                                         "Content-Type: application/partial-upload\r\nUpload-Offset: " +
                                             std::to_string(offset) + "\r\nUpload-Complete: ?1\r\n" +
                                             "Content-Length: " + std::to_string(whole.size() - offset)))
                        .substr(3) +
                    whole.substr(offset));
        ASSERT_EQ(client.status(), 201) << client.body;
        EXPECT_NE(client.head.find("Upload-Complete: ?1\r\n"), std::string::npos);
        client.send(get_text(target));
        EXPECT_EQ(client.status(), 200);
        EXPECT_TRUE(client.body == whole) << recording_.path.guest;
        EXPECT_TRUE(!broken || broken->ends_within(milliseconds(20'000)));
      }
    }
  }
  EXPECT_EQ(metrics_.uploads_parked, 12U);
}

// A rest that has no place is refused before it is read.
TEST_F(Connections, ARestAtTheWrongOffsetIsNotRead) {
  serve();
  Client client = connect();
  client.send("PATCH" + put_head(kChunk, "media",
                                 "Content-Type: application/partial-upload\r\nUpload-Offset: 2\r\n"
                                 "Upload-Complete: ?1\r\nContent-Length: 500000")
                            .substr(3));
  EXPECT_EQ(client.status(), 409);
  EXPECT_NE(client.head.find("Connection: close\r\n"), std::string::npos);
}

// Stopping the server ends uploads that go on for too long; what they had parked goes with it.
TEST_F(Connections, AStoppedServerLeavesNoPartBehind) {
  serve({.stop_grace = milliseconds(1)});
  Client client = connect();
  client.send(put_head(kChunk, "media", "Content-Length: 5") + "med");
  while (metrics_.received_bytes == 0) std::this_thread::yield();
  server_.reset();
  service_.reset();
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a/001/alice"));
}

TEST_F(Connections, ContinueIsSaidOnlyWhenTheBodyIsWanted) {
  serve();
  const std::string framing = "Expect: 100-continue\r\nContent-Length: 5";
  Client client = connect();
  client.send(put_head(kChunk, "media", framing));
  EXPECT_EQ(client.status(), 100);
  client.send("media");
  EXPECT_EQ(client.status(), 201);

  recording_.id = std::string(32, 'f');
  client.send(put_head(kChunk, "media", framing));
  EXPECT_EQ(client.status(), 409);
  EXPECT_NE(client.head.find("Connection: close\r\n"), std::string::npos);

  Client other = connect();
  other.send(put_head(kChunk, "media", "Expect: a-miracle\r\nContent-Length: 5"));
  EXPECT_EQ(other.status(), 417);
}

TEST_F(Connections, SmallRefusedBodyDoesNotCostTheConnection) {
  serve();
  Client client = connect();
  client.send("PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'x'));
  EXPECT_EQ(client.status(), 404);
  client.send("POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  EXPECT_EQ(client.status(), 405);
  client.send(get_text("/healthz"));
  EXPECT_EQ(client.status(), 200);
}

TEST_F(Connections, LargeRefusedBodyIsAnsweredBeforeItIsSent) {
  serve();
  Client client = connect();
  client.send("PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
  EXPECT_EQ(client.status(), 404);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(Connections, TooLargeIsRefusedByItsLength) {
  serve();
  Client client = connect();
  client.send(put_head(kChunk, "media", "Content-Length: 1073741825"));
  EXPECT_EQ(client.status(), 413);
  Client exact = connect();
  exact.send(put_head(kChunk, "media", "Expect: 100-continue\r\nContent-Length: 1073741824"));
  EXPECT_EQ(exact.status(), 100);
}

// Request smuggling: wherever two readers could see two ends of a request, it is refused and the connection ends, so
// that what follows is never taken for a request.
TEST_F(Connections, AmbiguousFramingIsRefusedAndEndsTheConnection) {
  serve();
  for (const char* framing : {"Content-Length: 5\r\nTransfer-Encoding: chunked",
                              "Transfer-Encoding: chunked\r\nContent-Length: 5",
                              "Content-Length: 5\r\nContent-Length: 6",
                              "Content-Length: 5\r\nContent-Length: 5",
                              "Content-Length: 5, 6",
                              "Content-Length: 5, 5",
                              "Content-Length: +5",
                              "Content-Length: -1",
                              "Content-Length: 0x5",
                              "Content-Length: 5 5",
                              "Content-Length:",
                              "Content-Length: 99999999999999999999999",
                              "Transfer-Encoding: gzip, chunked",
                              "Transfer-Encoding: chunked, gzip",
                              "Transfer-Encoding: identity",
                              "Transfer-Encoding: xchunked",
                              "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                              "Transfer-Encoding : chunked",
                              "Transfer-Encoding: \"chunked\"",
                              "Host: y\r\nContent-Length: 5"}) {
    Client client = connect();
    client.send(put_head(kChunk, "media", framing) + "0\r\n\r\n" + get_text("/healthz"));
    EXPECT_EQ(client.status(), 400) << framing;
    EXPECT_NE(client.head.find("Connection: close\r\n"), std::string::npos) << framing;
    EXPECT_EQ(client.status(), 0) << framing;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Connections, BrokenChunksAreRefusedAndNothingIsStored) {
  serve();
  for (const char* body : {"x\r\nmedia\r\n0\r\n\r\n", "5\r\nmediaX0\r\n\r\n", "-5\r\nmedia\r\n0\r\n\r\n",
                           "ffffffffffffffffff\r\nmedia\r\n", "5media\r\n0\r\n\r\n"}) {
    Client client = connect();
    client.send(put_head(kChunk, "media", "Transfer-Encoding: chunked") + body);
    EXPECT_EQ(client.status(), 400) << body;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Connections, NonsenseIsRefused) {
  serve();
  for (const std::string& text :
       {std::string("hello\r\n\r\n"), std::string("GET /\r\n\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("GET / HTTP/1.1\nHost: x\n\n"), std::string("GET / HTTP/3.0\r\nHost: x\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15),
        std::string("GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost : x\r\n\r\n")}) {
    Client client = connect();
    client.send(text);
    client.finish();
    EXPECT_EQ(client.status(), 400) << text;
  }
}

TEST_F(Connections, HugeHeadersAreRefused) {
  serve();
  Client one = connect();
  one.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(one.status(), 431);
  std::string many = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 10'000; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  Client other = connect();
  other.send(many + "\r\n");
  EXPECT_EQ(other.status(), 431);
  Client endless = connect();
  endless.send("GET /" + std::string(100'000, 'x'));
  EXPECT_EQ(endless.status(), 431);
}

TEST_F(Connections, OldHttpIsAnsweredAndClosed) {
  serve();
  Client client = connect();
  client.send("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.status(), 200);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(Connections, CloseIsObeyed) {
  serve();
  Client client = connect();
  client.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.status(), 200);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(Connections, ClientThatVanishesMidwayLeavesNothingThatAnybodySees) {
  serve();
  {
    Client client = connect();
    client.send(put_head(kChunk, "media", "Expect: 100-continue\r\nContent-Length: 5"));
    EXPECT_EQ(client.status(), 100);
    client.send("me");
  }
  server_->stop();  // waits for what is in flight
  EXPECT_EQ(get(recording_, kChunk).status, 404);
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "store/studio-a/001/alice")) {
    EXPECT_TRUE(entry.path().filename().string().starts_with(".stage-")) << entry.path();
  }
  server_.reset();
  service_.reset();
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Connections, ManyAtOnce) {
  serve();
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Client client = connect();
      for (std::uint32_t n = 1; n <= 20; ++n) {
        client.send(put_text(wire::chunk_name({t * 20 + n}), std::string(1000 + n, 'x')));
        EXPECT_EQ(client.status(), 201);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store_->list(recording_.path)->size(), 160U);
}

TEST_F(Connections, WholeRecordingOverTheWire) {
  serve();
  Client client = connect();
  for (const auto& [name, text] : recording_.files) {
    client.send(put_text(name, text));
    EXPECT_EQ(client.status(), 201);
  }
  client.send(put_text("manifest", recording_.manifest));
  EXPECT_EQ(client.status(), 200);
  EXPECT_TRUE(wire::parse_audit_answer(client.body)->synced);
}

TEST_F(Connections, EachRequestIsLogged) {
  std::vector<std::string> lines;
  AccessLog access_log([&](const std::string& line) {
    lines.push_back(line);
    return Status{};
  });
  serve({}, &access_log);
  Client client = connect();
  client.send(put_text(kChunk, "media"));
  client.status();
  client.send(get_text("/v1/recordings/s/001/\xff/manifest"));
  client.status();
  server_->stop();
  EXPECT_TRUE(access_log.finish());
  ASSERT_EQ(lines.size(), 2U);
  const auto first = json::parse_object(lines[0]);
  ASSERT_TRUE(first);
  EXPECT_EQ(json::get_string(*first, "event"), "request");
  EXPECT_EQ(json::get_string(*first, "method"), "PUT");
  EXPECT_EQ(json::get_int(*first, "status"), 201);
  EXPECT_EQ(json::get_int(*first, "received_bytes"), 5);
  ASSERT_TRUE(json::parse_object(lines[1]));
  EXPECT_EQ(json::get_string(*json::parse_object(lines[1]), "target"), "/v1/recordings/s/001/?/manifest");
}

TEST(AccessLog, BrokenSinkIsReportedInTheEndAndStopsNobody) {
  AccessLog access_log([](const std::string&) -> Status { return fail(ErrorKind::io, "broken"); });
  for (int i = 0; i < 100; ++i) access_log.add({});
  const Status status = access_log.finish();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "broken");
}

TEST_F(Connections, AddressInUseIsToldAtTheStart) {
  serve();
  Options options;
  options.listen = {parse_listen_address(server_->urls().front().substr(7)).value()};
  const auto second = Server::start(*service_, metrics_, options, no_log(), nullptr);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::unavailable);
}

}  // namespace
}  // namespace mc::server
