#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "digest/hmac.hpp"
#include "server/authority.hpp"
#include "unit/scratch_directory.hpp"

namespace mc::server {
namespace {

constexpr char kSecret[] = "0123456789abcdef0123456789abcdef";

class AuthorityTest : public ::testing::Test {
 protected:
  AuthorityTest() { write(std::string(kSecret) + "\n"); }

  void write(const std::string& text) {
    std::ofstream(path_) << text;
    ::chmod(path_.c_str(), 0600);
  }
  static wire::TokenClaims guest() {
    wire::TokenClaims claims;
    claims.session = "studio-a";
    claims.guest = "アリス";
    return claims;
  }
  static std::string token(const wire::TokenClaims& claims, std::string_view secret = kSecret) {
    const std::string text = wire::signed_part(claims);
    return wire::format_token(text, digest::hmac_sha256(as_bytes(secret), as_bytes(text)));
  }
  // 0: allowed.
  int check(const std::string& method, const std::string& target, const std::optional<std::string>& authorization) {
    if (!authority_)
      authority_ = Authority::open(sys::real_file_system(), path_, SecretMode::owner_only, no_log()).value();
    Request request;
    request.method = method;
    request.target = target;
    request.headers.authorization = authorization;
    auto refused = authority_->check(request, parse_route(target));
    if (!refused) return 0;
    problem_ = refused->problem;
    challenge_ = refused->response.headers.back().second;
    EXPECT_EQ(refused->response.headers.back().first, "WWW-Authenticate");
    EXPECT_TRUE(wire::parse_problem(refused->response.body));
    return refused->response.status;
  }
  int as(const wire::TokenClaims& claims, const std::string& method, const std::string& target) {
    return check(method, target, "Bearer " + token(claims));
  }

  ScratchDirectory directory_;
  std::string path_ = directory_ / "secret";
  std::unique_ptr<Authority> authority_;
  std::string problem_, challenge_;
};

constexpr char kOwn[] = "/v1/recordings/studio-a/001/%E3%82%A2%E3%83%AA%E3%82%B9/";

TEST_F(AuthorityTest, AGuestWritesItsOwnRecordingsAndNoOthers) {
  const std::string own(kOwn);
  for (const char* method : {"PUT", "PATCH", "HEAD"}) EXPECT_EQ(as(guest(), method, own + "chunk_000001.m4s"), 0);
  EXPECT_EQ(as(guest(), "GET", own), 0);
  EXPECT_EQ(as(guest(), "GET", own + "receipt-0011223344556677"), 0);
  EXPECT_EQ(as(guest(), "PUT", own + "manifest"), 0);
  EXPECT_EQ(as(guest(), "PUT", "/v1/recordings/studio-a/007/%e3%82%a2%E3%83%AA%E3%82%B9~2/manifest"), 0);
  EXPECT_EQ(as(guest(), "GET", own + "chunk_000001.m4s"), 403);
  for (const char* method : {"GET", "HEAD"}) {
    EXPECT_EQ(as(guest(), method, own.substr(0, own.size() - 1) + ".mp4"), 403) << "it is media";
    EXPECT_EQ(as(guest(), method, "/v1/recordings/studio-a/001/bob.mp4"), 403);
  }
  EXPECT_EQ(challenge_, "Bearer realm=\"maycast\", error=\"insufficient_scope\"");
  EXPECT_EQ(as(guest(), "PUT", "/v1/recordings/studio-a/001/bob/manifest"), 403);
  EXPECT_EQ(as(guest(), "PUT", "/v1/recordings/studio-b/001/%E3%82%A2%E3%83%AA%E3%82%B9/manifest"), 403);
  EXPECT_EQ(as(guest(), "GET", "/metrics"), 403);
}

TEST_F(AuthorityTest, OtherRoles) {
  wire::TokenClaims claims;
  claims.role = wire::Role::director;
  claims.session = "studio-a";
  EXPECT_EQ(as(claims, "GET", std::string(kOwn) + "chunk_000001.m4s"), 0);
  EXPECT_EQ(as(claims, "PUT", std::string(kOwn) + "chunk_000001.m4s"), 403);
  EXPECT_EQ(as(claims, "GET", "/v1/recordings/studio-b/001/bob/"), 403);
  EXPECT_EQ(as(claims, "GET", "/metrics"), 403);
  claims = {};
  claims.role = wire::Role::reader;
  EXPECT_EQ(as(claims, "GET", "/v1/recordings/studio-b/001/bob/manifest"), 0);
  EXPECT_EQ(as(claims, "PATCH", "/v1/recordings/studio-b/001/bob/manifest"), 403);
  EXPECT_EQ(as(claims, "GET", "/metrics"), 0);
  claims.role = wire::Role::admin;
  EXPECT_EQ(as(claims, "PUT", "/v1/recordings/studio-b/001/bob/manifest"), 0);
  EXPECT_EQ(as(claims, "GET", "/metrics"), 0);
}

TEST_F(AuthorityTest, WithoutATokenOnlyKeyAndHealthAreOpen) {
  for (const char* open : {"/healthz", "/readyz", "/v1/key", "/v1/keys/0011223344556677"}) {
    EXPECT_EQ(check("GET", open, std::nullopt), 0) << open;
  }
  for (const char* target : {"/metrics", kOwn}) {
    for (const auto& field : {std::optional<std::string>(), {"Basic YTpi"}, {"Bearer"}, {"Bearer "}}) {
      EXPECT_EQ(check("GET", target, field), 401) << target;
    }
  }
  EXPECT_EQ(problem_, "token-required");
  EXPECT_EQ(challenge_, "Bearer realm=\"maycast\"");
}

TEST_F(AuthorityTest, ForgedTokensAreRefused) {
  const std::string good = token(guest());
  ASSERT_EQ(check("GET", kOwn, "bearer " + good), 0);
  EXPECT_EQ(check("GET", kOwn, "Bearer " + token(guest(), "another-secret-of-thirty-two-chars")), 401);
  EXPECT_EQ(problem_, "token-invalid");
  EXPECT_NE(challenge_.find("error=\"invalid_token\""), std::string::npos);
  for (std::size_t n = 0; n < good.size(); ++n) {
    EXPECT_EQ(check("GET", kOwn, "Bearer " + good.substr(0, n)), 401) << n;
    std::string flipped = good;
    flipped[n] = flipped[n] == 'A' ? 'B' : 'A';
    EXPECT_EQ(check("GET", kOwn, "Bearer " + flipped), 401) << n;
  }
  // An admin's claims with "none" and no signature, or with the guest's signature.
  wire::TokenClaims admin;
  admin.role = wire::Role::admin;
  const std::string none = wire::to_base64url(as_bytes(R"({"alg":"none"})"));
  const std::string claims = wire::signed_part(admin).substr(wire::signed_part(admin).find('.'));
  for (const std::string& forged :
       {none + claims + ".", none + claims, wire::signed_part(admin) + good.substr(good.rfind('.'))}) {
    EXPECT_EQ(check("GET", kOwn, "Bearer " + forged), 401);
  }
  // Signed by us, and still not with an algorithm that we take.
  const std::string text = none + claims;
  EXPECT_EQ(
      check("GET", kOwn, "Bearer " + wire::format_token(text, digest::hmac_sha256(as_bytes(kSecret), as_bytes(text)))),
      401);
  EXPECT_EQ(check("GET", kOwn, "Bearer " + good + ", Bearer " + good), 401);
}

TEST_F(AuthorityTest, TimeAndEpochEndAToken) {
  wire::TokenClaims claims = guest();
  claims.expires_s = 1'000'000'000;
  EXPECT_EQ(as(claims, "GET", kOwn), 401);
  EXPECT_EQ(problem_, "token-expired");
  claims = guest();
  claims.epoch = 1;
  EXPECT_EQ(as(claims, "GET", kOwn), 0);
  write(std::string(kSecret) + "\nmin-epoch 1\nmin-epoch 2 studio-b\n");
  EXPECT_EQ(as(claims, "GET", kOwn), 0);
  write(std::string(kSecret) + "\nmin-epoch 1\nmin-epoch 2 studio-a\n");
  EXPECT_EQ(as(claims, "GET", kOwn), 401);
  EXPECT_EQ(problem_, "token-revoked");
  claims.epoch = 2;
  EXPECT_EQ(as(claims, "GET", kOwn), 0);
  // A file that cannot be understood, or is gone, changes nothing.
  write("half an ed");
  EXPECT_EQ(as(claims, "GET", kOwn), 0);
  claims.epoch = 1;
  EXPECT_EQ(as(claims, "GET", kOwn), 401);
  std::remove(path_.c_str());
  EXPECT_EQ(as(claims, "GET", kOwn), 401);
  write("another-secret-of-thirty-two-chars\n");
  EXPECT_EQ(check("GET", kOwn, "Bearer " + token(claims, "another-secret-of-thirty-two-chars")), 0);
}

TEST(SecretFile, SaysWhichLineIsWrong) {
  const std::string key(kSecret);
  EXPECT_EQ(parse_secret("# made by hand\n\n" + key + "\r\nmin-epoch 3 studio a\n")->min_epoch_for("studio a"), 3U);
  for (const std::string& text : {std::string(), std::string("short\n"), key + " x\n", key + "\nmin-epoch\n",
                                  key + "\nmin-epoch x\n", key + "\nmin-epoch -1\n", key + "\nmin-epoch 1 ../x\n",
                                  key + "\nmin-epoch 99999999999999999999\n", key + "\n" + key + "\n"}) {
    const auto secret = parse_secret(text);
    ASSERT_FALSE(secret) << text;
    EXPECT_EQ(secret.error().kind, ErrorKind::config);
    EXPECT_EQ(secret.error().message.find(key), std::string::npos);
  }
}

TEST(SecretFile, IsMadeOnceAndForItsOwnerAlone) {
  const ScratchDirectory directory;
  const std::string path = directory / "secret";
  ASSERT_TRUE(make_secret(sys::real_file_system(), path));
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600);
  EXPECT_TRUE(load_secret(sys::real_file_system(), path, SecretMode::owner_only));
  EXPECT_EQ(make_secret(sys::real_file_system(), path).error().kind, ErrorKind::no_space);
  ::chmod(path.c_str(), 0640);
  EXPECT_EQ(load_secret(sys::real_file_system(), path, SecretMode::owner_only).error().kind, ErrorKind::config);
}

}  // namespace
}  // namespace mc::server
