#include <gtest/gtest.h>

#include "server/listen_address.hpp"
#include "server/route.hpp"

namespace mc::server {
namespace {

template <class T>
bool is(std::string_view target) {
  return std::holds_alternative<T>(parse_route(target));
}

TEST(Route, FileIsFoundByItsComponents) {
  const Route route = parse_route("/v1/recordings/studio%20a/001/%E3%82%A2/chunk_000001.m4s");
  const auto* file = std::get_if<FileRoute>(&route);
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->path, (wire::RecordingPath{"studio a", "001", "ア"}));
  EXPECT_EQ(file->name, "chunk_000001.m4s");
  EXPECT_EQ(file->kind, wire::FileKind::chunk);
}

TEST(Route, ListingEndsInASlash) {
  EXPECT_TRUE(is<ListingRoute>("/v1/recordings/s/001/alice/"));
  EXPECT_TRUE(is<UnknownRoute>("/v1/recordings/s/001/alice"));
}

TEST(Route, QueryAndAbsoluteFormMakeNoDifference) {
  EXPECT_TRUE(is<HealthRoute>("/healthz?x=/../"));
  EXPECT_TRUE(is<MetricsRoute>("http://other.example:80/metrics"));
  EXPECT_TRUE(is<FileRoute>("https://x/v1/recordings/s/001/alice/manifest?verify=full"));
  EXPECT_TRUE(is<UnknownRoute>("http://nothing.example"));
}

TEST(Route, JoinedFilesAreNamedAfterTheGuest) {
  const auto joined = [](std::string_view target) {
    const Route route = parse_route(target);
    const auto* found = std::get_if<JoinedRoute>(&route);
    return found == nullptr ? JoinedRoute{} : *found;
  };
  EXPECT_EQ(joined("/v1/recordings/s/001/%E3%82%A2.mp4").path, (wire::RecordingPath{"s", "001", "ア"}));
  EXPECT_EQ(joined("/v1/recordings/s/001/alice.mp4").tracks, join::Tracks::all);
  EXPECT_EQ(joined("/v1/recordings/s/001/alice%2Em4a").tracks, join::Tracks::sound);
  EXPECT_EQ(joined("/v1/recordings/s/001/alice.mp4.mp4").path.guest, "alice.mp4");
  EXPECT_TRUE(is<ListingRoute>("/v1/recordings/s/001/alice.mp4/"));
  EXPECT_TRUE(is<UnknownRoute>("/v1/recordings/s/001/alice.mov"));
  for (const char* target : {"/v1/recordings/s/001/.mp4", "/v1/recordings/s/1/alice.mp4",
                             "/v1/recordings/s/001/..%2Fx.mp4", "/v1/recordings/s/001/..mp4"}) {
    EXPECT_TRUE(is<BadNameRoute>(target)) << target;
  }
  EXPECT_EQ(allowed_methods(parse_route("/v1/recordings/s/001/alice.mp4")), "GET, HEAD");
}

TEST(Route, AFullAuditIsAskedForInTheQuery) {
  const auto depth = [](std::string_view target) { return std::get<FileRoute>(parse_route(target)).depth; };
  EXPECT_EQ(depth("/v1/recordings/s/001/alice/manifest"), AuditDepth::what_changed);
  EXPECT_EQ(depth("/v1/recordings/s/001/alice/manifest?x=1"), AuditDepth::what_changed);
  EXPECT_EQ(depth("/v1/recordings/s/001/alice/manifest?verify=full"), AuditDepth::everything);
  EXPECT_EQ(depth("http://x/v1/recordings/s/001/alice/manifest?x&verify=full&y="), AuditDepth::everything);
  for (const char* query : {"verify", "verify=", "verify=ful", "verify=full&verify=no"}) {
    EXPECT_TRUE(is<BadQueryRoute>("/v1/recordings/s/001/alice/manifest?" + std::string(query))) << query;
  }
  EXPECT_TRUE(is<FileRoute>("/v1/recordings/s/001/alice/chunk_000001.m4s?verify=x"));
}

// Whatever the client writes, what comes out is a name or nothing.
TEST(Route, TraversalIsABadName) {
  for (const char* target :
       {"/v1/recordings/../001/alice/manifest", "/v1/recordings/%2e%2e/001/alice/manifest",
        "/v1/recordings/s/001/alice/..", "/v1/recordings/s/001/alice/%2e%2e%2fmanifest",
        "/v1/recordings/s/001/..%2f..%2fetc/manifest", "/v1/recordings/s/001/a%00b/manifest",
        "/v1/recordings/s/001/alice/.recording", "/v1/recordings/s/001/alice/.stage-1",
        "/v1/recordings/s/001/a%5cb/manifest", "/v1/recordings/s/001/%ff/manifest", "/v1/recordings/s/001/%zz/manifest",
        "/v1/recordings//001/alice/manifest", "/v1/recordings/s/1/alice/manifest",
        "/v1/recordings/s/000/alice/manifest", "/v1/recordings/s/001/alice/chunk_1.m4s",
        "/v1/recordings/s/001/alice/evil.mp4", "/v1/recordings/s/001//manifest",
        "/v1/recordings/.hidden/001/alice/manifest", "/v1/recordings/s/..%2f1/alice/manifest"}) {
    EXPECT_TRUE(is<BadNameRoute>(target)) << target;
  }
}

TEST(Route, EverythingElseIsUnknown) {
  for (const char* target :
       {"", "*", "/", "/v1", "/v1/recordings/", "/v1/recordings/s/001/alice/manifest/x",
        "/v1/recordings/s/001/alice/manifest/", "/V1/key", "/v1/keys/", "/healthz/", "//healthz"}) {
    EXPECT_TRUE(is<UnknownRoute>(target)) << target;
  }
}

TEST(Route, ReceiptsAreNotWritten) {
  EXPECT_EQ(allowed_methods(parse_route("/v1/recordings/s/001/alice/receipt-0011223344556677")), "GET, HEAD");
  EXPECT_EQ(allowed_methods(parse_route("/v1/recordings/s/001/alice/manifest")), "GET, HEAD, PUT, PATCH");
  EXPECT_EQ(allowed_methods(parse_route("/nowhere")), "");
}

TEST(ListenAddress, IsReadAndWritten) {
  const auto v4 = parse_listen_address("127.0.0.1:8420");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->is_loopback);
  EXPECT_EQ(base_url(*v4, Scheme::http), "http://127.0.0.1:8420");
  const auto v6 = parse_listen_address("[::1]:0");
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->is_loopback);
  EXPECT_EQ(base_url(*v6, Scheme::http), "http://[::1]:0");
  EXPECT_EQ(parse_listen_address("localhost:1")->host, "127.0.0.1");
  EXPECT_FALSE(parse_listen_address("0.0.0.0:80")->is_loopback);
  EXPECT_FALSE(parse_listen_address("[::]:80")->is_loopback);
}

TEST(ListenAddress, WhatOthersReachNeedsTlsAndASecretOrTheDangerByName) {
  const auto here = *parse_listen_address("127.0.0.1:1"), everywhere = *parse_listen_address("[::]:1");
  for (const bool tls : {false, true}) {
    for (const bool secret : {false, true}) {
      const Protection protection{tls, secret};
      EXPECT_EQ(what_is_missing(protection).empty(), tls && secret);
      EXPECT_TRUE(check_exposure(here, protection, Danger::refused));
      EXPECT_TRUE(check_exposure(everywhere, protection, Danger::accepted));
      const Status status = check_exposure(everywhere, protection, Danger::refused);
      ASSERT_EQ(status.has_value(), tls && secret);
      if (status) continue;
      EXPECT_EQ(status.error().kind, ErrorKind::config);
      EXPECT_EQ(status.error().message, "will not listen on '[::]:1': " + what_is_missing(protection) + " configured");
    }
  }
}

TEST(ListenAddress, NonsenseIsAUsageError) {
  for (const char* text :
       {"", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "::1:80",
        "[::1]", "[127.0.0.1]:80", "host.example:80", "127.0.0.1:+80", "256.0.0.1:80"}) {
    const auto parsed = parse_listen_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace mc::server
