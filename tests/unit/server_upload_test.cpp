#include "unit/server_recording.hpp"

namespace mc::server {
namespace {

constexpr char kChunk[] = "chunk_000001.m4s";

using Uploads = ServiceTest;

TEST_F(Uploads, StoredOnceAndTheSameAgain) {
  const TestRecording recording;
  EXPECT_EQ(put(recording, kChunk, "media").status, 201);
  EXPECT_EQ(put(recording, kChunk, "media").status, 200);
  EXPECT_EQ(on_disk(kChunk), "media");
  EXPECT_EQ(on_disk(".recording"), recording.id + "\n");
}

TEST_F(Uploads, EitherDigestFieldWillDo) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  r.headers.content_digest = digest_header("media");
  EXPECT_EQ(send(r, "media").status, 201);
  r.headers.repr_digest = digest_header("media");
  EXPECT_EQ(send(r, "media").status, 200);
  r.headers.repr_digest = digest_header("other");
  EXPECT_EQ(type_of(send(r, "media")), "digest-mismatch");
}

TEST_F(Uploads, WithoutAUsableDigestIsRefused) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  EXPECT_EQ(type_of(send(r, "media")), "digest-required");
  for (const char* field : {"", "sha-512=:AAAA:", "sha-256=AAAA", "md5=:AAAA:"}) {
    r.headers.repr_digest = field;
    EXPECT_EQ(type_of(send(r, "media")), "digest-required") << field;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Uploads, WrongDigestLeavesNothing) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  r.headers.repr_digest = digest_header("media");
  EXPECT_EQ(type_of(send(r, "medio")), "digest-mismatch");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Uploads, WithoutARecordingIdIsRefused) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  r.headers.repr_digest = digest_header("media");
  for (const char* id : {"", "0123", "0123456789ABCDEF0123456789ABCDEF", "../../etc/passwd"}) {
    r.headers.recording = id;
    EXPECT_EQ(type_of(send(r, "media")), "recording-required") << id;
  }
  r.headers.recording.reset();
  EXPECT_EQ(type_of(send(r, "media")), "recording-required");
}

TEST_F(Uploads, PartsAndCodingsAreRefused) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  r.headers.repr_digest = digest_header("media");
  r.headers.content_range = "bytes 0-4/10";
  EXPECT_EQ(send(r, "media").status, 400);
  r.headers.content_range.reset();
  r.headers.content_encoding = "gzip";
  EXPECT_EQ(send(r, "media").status, 415);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Uploads, ConflictKeepsBoth) {
  const TestRecording recording;
  put(recording, kChunk, "media");
  const Response response = put(recording, kChunk, "other");
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(type_of(response), "conflict");
  EXPECT_EQ(on_disk(kChunk), "media");
  EXPECT_EQ(on_disk(std::string(".conflict-") + kChunk + "-" + digest::sha256_hex(as_bytes("other")).substr(0, 16)),
            "other");
}

TEST_F(Uploads, PathBelongsToTheFirstRecording) {
  const TestRecording first;
  TestRecording second;
  second.id = std::string(32, 'f');
  put(first, kChunk, "media");
  for (const char* name : {kChunk, "chunk_000002.m4s", "manifest"}) {
    const Response response = put(second, name, "media");
    EXPECT_EQ(response.status, 409);
    EXPECT_EQ(type_of(response), "recording-taken");
  }
  start();
  EXPECT_EQ(type_of(put(second, "chunk_000003.m4s", "media")), "recording-taken");
  EXPECT_EQ(put(first, "chunk_000003.m4s", "media").status, 201);
}

TEST_F(Uploads, OfTwoFirstUploadsOfTwoRecordingsOneWins) {
  const TestRecording first;
  TestRecording second;
  second.id = std::string(32, 'f');
  const auto begin = [&](const TestRecording& recording) {
    Request r = request("PUT", recording, kChunk);
    r.headers.repr_digest = digest_header("media");
    return std::get<std::unique_ptr<Upload>>(service_->begin_upload(r, [] {}));
  };
  const auto a = begin(first);
  const auto b = begin(second);
  (void)a->write(as_bytes("media"));
  (void)b->write(as_bytes("media"));
  EXPECT_EQ(b->finish().status, 201);
  EXPECT_EQ(type_of(a->finish()), "recording-taken");
}

TEST_F(Uploads, ReceiptsCannotBeSent) {
  const TestRecording recording;
  const Response response = put(recording, "receipt-0011223344556677", "maycast-receipt 1\n");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(header(response, "Allow"), "GET, HEAD");
}

TEST_F(Uploads, GivenUpMidwayLeavesNothing) {
  const TestRecording recording;
  Request r = request("PUT", recording, kChunk);
  r.headers.repr_digest = digest_header("media");
  {
    auto begun = service_->begin_upload(r, [] {});
    const auto upload = std::get<std::unique_ptr<Upload>>(std::move(begun));
    (void)upload->write(as_bytes("me"));
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Uploads, NamesOutsideARecordingAreRefused) {
  Request r;
  r.method = "PUT";
  for (const auto& [target, status] : {std::pair{"/v1/recordings/s/001/alice/evil", 400},
                                       {"/v1/recordings/s/001/%2e%2e/manifest", 400},
                                       {"/v1/recordings/s/001/alice/", 405},
                                       {"/v1/key", 405},
                                       {"/nowhere", 404}}) {
    r.target = target;
    EXPECT_EQ(send(r, "x").status, status) << target;
  }
}

TEST_F(Uploads, GetGivesWhatWasPut) {
  const TestRecording recording;
  put(recording, kChunk, "media");
  Response response = get(recording, kChunk);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "ETag"), '"' + digest::sha256_hex(as_bytes("media")) + '"');
  EXPECT_EQ(header(response, "Repr-Digest"), digest_header("media"));
  EXPECT_EQ(body(response), "media");

  RequestHeaders headers;
  headers.range = "bytes=1-2";
  Response part = get(recording, kChunk, headers);
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(header(part, "Content-Range"), "bytes 1-2/5");
  EXPECT_EQ(header(part, "Repr-Digest"), digest_header("media"));
  EXPECT_EQ(body(part), "ed");

  headers.range = "bytes=5-";
  Response behind = get(recording, kChunk, headers);
  EXPECT_EQ(behind.status, 416);
  EXPECT_EQ(header(behind, "Content-Range"), "bytes */5");

  RequestHeaders known;
  known.if_none_match = header(response, "ETag");
  EXPECT_EQ(get(recording, kChunk, known).status, 304);
  EXPECT_EQ(type_of(get(recording, "chunk_000002.m4s")), "not-found");
}

TEST_F(Uploads, ListingHashesWhatIsOnDisk) {
  const TestRecording recording;
  EXPECT_EQ(type_of(get(recording, "")), "not-found");
  put(recording, kChunk, "media");
  put(recording, "init_001.mp4", "init");
  overwrite(kChunk, "MEDIA");
  const Response response = get(recording, "");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, wire::format_held_file({kChunk, 5, digest::sha256_hex(as_bytes("MEDIA"))}) + "\n" +
                               wire::format_held_file({"init_001.mp4", 4, digest::sha256_hex(as_bytes("init"))}) +
                               "\n");
}

TEST_F(Uploads, KeyIsPublished) {
  Request r{"GET", "/v1/key", {}};
  const Response response = service_->handle(r);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, wire::kKeyHeader), public_key_.fingerprint());
  EXPECT_EQ(digest::PublicKey::from_pem(response.body)->raw(), public_key_.raw());
  r.target = wire::key_target(public_key_.fingerprint());
  EXPECT_EQ(service_->handle(r).body, response.body);
  r.target = wire::key_target("0011223344556677");
  EXPECT_EQ(service_->handle(r).status, 404);
}

TEST_F(Uploads, StoreErrorsTellNoPaths) {
  for (const auto& [errno_value, kind, status] : {std::tuple{ENOSPC, ErrorKind::no_space, 507},
                                                  {EDQUOT, ErrorKind::no_space, 507},
                                                  {EIO, ErrorKind::io, 500},
                                                  {EROFS, ErrorKind::no_space, 500},
                                                  {EMFILE, ErrorKind::unavailable, 503}}) {
    const Response response = store_problem({kind, "cannot create '/secret/place'", errno_value, {}});
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.body.find("secret"), std::string::npos);
  }
}

}  // namespace
}  // namespace mc::server
