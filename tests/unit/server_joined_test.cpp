// The joined file of what the store holds: as join makes it, or a refusal that says why not.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "join/stream.hpp"
#include "join_recording.hpp"
#include "server/server.hpp"
#include "spool/recording.hpp"
#include "unit/server_client.hpp"
#include "unit/server_recording.hpp"

namespace mc::server {
namespace {

using join_test::picture;
using join_test::Recording;
using join_test::run_of;
using join_test::sound;
using testing::HasSubstr;

constexpr char kJoined[] = "/v1/recordings/studio/001/alice.mp4";
constexpr char kSound[] = "/v1/recordings/studio/001/alice.m4a";

class JoinedFile : public ServiceTest {
 protected:
  void add_second(std::uint32_t frame_bytes = 5000) {
    recording_.add_chunk({run_of(1, seconds_ * 90000U, 30, 3000, frame_bytes), run_of(2, seconds_ * 48000U, 50, 960)});
    ++seconds_;
  }
  // As it would be after an upload: the same names and bytes.
  void hold() {
    std::filesystem::create_directories(held_);
    for (const auto& entry : std::filesystem::directory_iterator(recording_.directory())) hold(entry.path().filename());
  }
  void hold(const std::string& name) {
    std::filesystem::remove(held_ / name);  // a new file, as the store makes one
    std::filesystem::copy(recording_.path(name), held_ / name);
  }
  void record() {
    for (int i = 0; i < 3; ++i) add_second();
    recording_.close();
    hold();
  }
  std::string expected(join::Tracks tracks = join::Tracks::all) {
    auto& fs = sys::real_file_system();
    const auto reader = join::directory_reader(fs, recording_.directory());
    const auto plan = join::make_plan(*spool::load_manifest(fs, recording_.directory()), reader, tracks);
    join::Stream stream(*plan, reader);
    ByteBuffer all(static_cast<std::size_t>(plan->size_bytes));
    EXPECT_EQ(stream.read_at(0, all).value_or(0), all.size());
    return std::string(as_text(all));
  }
  Response ask(const char* target, RequestHeaders headers = {}, const char* method = "GET") {
    Request r;
    r.method = method;
    r.target = target;
    r.headers = std::move(headers);
    return service_->handle(r);
  }
  void expect_refused(int status, const char* type, const std::string& detail, const char* target = kJoined) {
    for (const char* method : {"GET", "HEAD"}) {
      const Response response = ask(target, {}, method);
      EXPECT_EQ(response.status, status) << response.body;
      EXPECT_EQ(type_of(response), type);
      EXPECT_THAT(response.body, HasSubstr(detail));
      EXPECT_FALSE(response.object);
    }
  }
  static RequestHeaders with_range(std::string range, std::optional<std::string> if_range = std::nullopt) {
    RequestHeaders headers;
    headers.range = std::move(range);
    headers.if_range = std::move(if_range);
    return headers;
  }

  Recording recording_{{{picture(), sound()}}};
  std::uint32_t seconds_ = 0;
  std::filesystem::path held_ = directory_ / "store/studio/001/alice";
};

TEST_F(JoinedFile, IsWhatJoinMakesOfTheSameFiles) {
  record();
  Response response = ask(kJoined);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(header(response, "Content-Type"), "video/mp4");
  EXPECT_EQ(header(response, "Accept-Ranges"), "bytes");
  EXPECT_EQ(header(response, "ETag").size(), 66U);
  EXPECT_EQ(response.object->length, expected().size());
  EXPECT_TRUE(body(response) == expected());
  EXPECT_EQ(ask(kJoined, {}, "HEAD").object->length, expected().size());
  Request r;
  r.method = "PUT";
  r.target = kJoined;
  EXPECT_EQ(send(r, "x").status, 405);
}

TEST_F(JoinedFile, OfTheSoundAloneIsAnotherFile) {
  record();
  Response response = ask(kSound);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(header(response, "Content-Type"), "audio/mp4");
  EXPECT_TRUE(body(response) == expected(join::Tracks::sound));
  EXPECT_NE(header(response, "ETag"), header(ask(kJoined), "ETag"));
}

TEST_F(JoinedFile, InTwoDescriptionsAndInRangesAnywhere) {
  add_second();
  mp4::Track larger = picture();
  larger.descriptions.push_back(join_test::visual_entry(640, 360, 2));
  recording_.add_init({{larger, sound()}});
  add_second();
  recording_.close();
  hold();
  const std::string whole = expected();
  for (std::size_t first = 0; first < whole.size(); first += 7919) {
    const std::size_t last = std::min(first + 1 + first % 100'003, whole.size() - 1);
    Response response = ask(kJoined, with_range("bytes=" + std::to_string(first) + "-" + std::to_string(last)));
    ASSERT_EQ(response.status, 206);
    EXPECT_EQ(header(response, "Content-Range"),
              "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(whole.size()));
    ASSERT_TRUE(body(response) == whole.substr(first, last - first + 1)) << first;
  }
  Response tail = ask(kJoined, with_range("bytes=-10"));
  EXPECT_EQ(body(tail), whole.substr(whole.size() - 10));
  const Response beyond = ask(kJoined, with_range("bytes=" + std::to_string(whole.size()) + "-"));
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(header(beyond, "Content-Range"), "bytes */" + std::to_string(whole.size()));
}

TEST_F(JoinedFile, ItsTagIsTheSameAfterARestart) {
  record();
  const std::string tag = header(ask(kJoined), "ETag");
  start();
  EXPECT_EQ(header(ask(kJoined), "ETag"), tag);
  EXPECT_EQ(ask(kJoined, with_range("bytes=5-", tag)).status, 206);
  EXPECT_EQ(ask(kJoined, with_range("bytes=5-", header(ask(kSound), "ETag"))).status, 200);
  RequestHeaders known;
  known.if_none_match = tag;
  EXPECT_EQ(ask(kJoined, known).status, 304);
}

TEST_F(JoinedFile, WhatIsMissingOrDamagedIsNamedBeforeTheFirstByte) {
  record();
  const std::string tag = header(ask(kJoined), "ETag");
  std::filesystem::remove(held_ / "chunk_000001.m4s");
  std::filesystem::resize_file(held_ / "chunk_000002.m4s", 100);
  std::fstream(held_ / "init_001.mp4", std::ios::in | std::ios::out).put('x');
  const char* faults = "init_001.mp4 is damaged, chunk_000001.m4s is missing, chunk_000002.m4s is damaged";
  expect_refused(409, "recording-damaged", faults);
  start();
  expect_refused(409, "recording-damaged", faults);
  for (const char* name : {"chunk_000001.m4s", "chunk_000002.m4s", "init_001.mp4"}) hold(name);
  Response response = ask(kJoined);
  EXPECT_TRUE(body(response) == expected());
  EXPECT_EQ(header(response, "ETag"), tag);

  std::fstream manifest(held_ / "manifest", std::ios::in | std::ios::out);
  manifest.seekp(100).put('~').flush();
  expect_refused(409, "recording-damaged", "manifest is damaged: line ");
}

TEST_F(JoinedFile, WhatIsNoWholeRecordingIsNoFile) {
  expect_refused(404, "not-found", "no such recording is held");
  add_second();
  hold();
  expect_refused(409, "recording-open", "its manifest has no end yet");
  std::filesystem::remove(held_ / "manifest");
  expect_refused(409, "recording-open", "its manifest has not come yet");

  const Recording empty_one{{{picture()}}};
  std::string text = empty_one.manifest_text();
  text += wire::end_line(0, digest::sha256_hex(as_bytes(text)));
  std::ofstream(held_ / "manifest") << text;
  expect_refused(409, "recording-damaged", "it is empty");
}

TEST_F(JoinedFile, OfARecordingWithoutSoundThereIsNoSound) {
  Recording silent{{{picture()}}};
  silent.add_chunk({run_of(1, 0, 30, 3000)});
  silent.close();
  std::filesystem::create_directories(held_);
  for (const char* name : {"manifest", "init_001.mp4", "chunk_000001.m4s"}) {
    std::filesystem::copy(silent.path(name), held_ / name);
  }
  EXPECT_EQ(ask(kJoined).status, 200);
  expect_refused(404, "not-found", "the recording has no sound", kSound);
}

TEST_F(JoinedFile, ManyTakeItAtOnceWhileOthersSend) {
  record();
  Options options;
  options.listen = {parse_listen_address("127.0.0.1:0").value()};
  const auto server = Server::start(*service_, metrics_, options, no_log(), nullptr).value();
  const std::string whole = expected(), sound_alone = expected(join::Tracks::sound);
  const TestRecording other(20);
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int n = 0; n < 8; ++n) {
    clients.emplace_back([&, n] {
      Client client(server->urls().front());
      for (int i = 0; i < 5; ++i) {
        client.send("GET " + std::string(n % 2 == 0 ? kJoined : kSound) + " HTTP/1.1\r\nHost: x\r\n\r\n");
        if (client.status() == 200 && client.body == (n % 2 == 0 ? whole : sound_alone)) ++right;
      }
    });
  }
  put_files(other);
  EXPECT_TRUE(audit(other, other.manifest).synced);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 40);
}

// One that had been compared goes bad while its file is being sent: what was not compared anew is not sent, and from
// then on it is known.
TEST_F(JoinedFile, AChunkThatGoesBadMeanwhileEndsItAndIsKnown) {
  record();
  Response response = ask(kJoined);
  const std::string whole = expected();
  std::fstream(held_ / "chunk_000003.m4s", std::ios::in | std::ios::out).seekp(60'000).put('~');
  ByteBuffer all(whole.size());
  EXPECT_FALSE(response.object->object->read_at(0, all));
  ByteBuffer start(whole.size() / 2);
  ASSERT_TRUE(response.object->object->read_at(0, start));
  EXPECT_TRUE(as_text(start) == whole.substr(0, start.size()));
  expect_refused(409, "recording-damaged", "chunk_000003.m4s is damaged");
}

// The same on the wire: the client is told by a body that ends too early.
TEST_F(JoinedFile, TheClientSeesABodyThatEndsTooEarly) {
  add_second();
  add_second(600'000);  // more than lies between the two in buffers
  add_second();
  recording_.close();
  hold();
  Options options;
  options.listen = {parse_listen_address("127.0.0.1:0").value()};
  const auto server = Server::start(*service_, metrics_, options, no_log(), nullptr).value();
  const std::string whole = expected();
  Client client(server->urls().front());
  const std::string question = "GET " + std::string(kJoined) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  client.send(question);
  EXPECT_EQ(client.status(), 200);
  EXPECT_TRUE(client.body == whole);

  client.head_only = true;
  client.send(question);
  EXPECT_EQ(client.status(), 200);
  std::fstream(held_ / "chunk_000003.m4s", std::ios::in | std::ios::out).seekp(60'000).put('~');
  const std::string came = client.everything();
  EXPECT_LT(came.size(), whole.size());
  EXPECT_GT(came.size(), whole.size() / 2);
  EXPECT_TRUE(whole.starts_with(came));

  Client again(server->urls().front());
  again.send(question);
  EXPECT_EQ(again.status(), 409);
  EXPECT_THAT(again.body, HasSubstr("chunk_000003.m4s is damaged"));
}

}  // namespace
}  // namespace mc::server
