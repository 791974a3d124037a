#include <gtest/gtest.h>

#include <algorithm>

#include "wire/token.hpp"

namespace mc::wire {
namespace {

TokenClaims guest_claims() {
  TokenClaims claims;
  claims.session = "スタジオ a";
  claims.guest = "アリス";
  claims.take = "001";
  claims.epoch = 3;
  claims.issued_s = 1'700'000'000;
  claims.expires_s = 1'800'000'000;
  claims.id = "0123";
  return claims;
}

std::string with_payload(std::string_view header, std::string_view payload) {
  return to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload));
}

constexpr char kHeader[] = R"({"alg":"HS256","typ":"JWT"})";

TEST(Token, ComesBackAsItWas) {
  const TokenClaims claims = guest_claims();
  const std::string text = signed_part(claims);
  const ByteBuffer mac(32, 0xA5);
  const auto split = split_token(format_token(text, mac));
  ASSERT_TRUE(split);
  EXPECT_EQ(split->mac, mac);
  const auto parsed = parse_claims(text);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, claims);
}

TEST(Token, TruncatedAtEveryByteIsNone) {
  const std::string text = signed_part(guest_claims());
  const std::string token = format_token(text, ByteBuffer(32, 1));
  ASSERT_TRUE(split_token(token));
  for (std::size_t n = 0; n < token.size(); ++n) EXPECT_FALSE(split_token(std::string_view(token).substr(0, n))) << n;
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(parse_claims(std::string_view(text).substr(0, n))) << n;
}

TEST(Token, HasOneSpellingOfItsSignature) {
  const std::string token = format_token(signed_part(guest_claims()), ByteBuffer(32, 1));
  for (const std::string& other : {token + "=", token + ".", "." + token, token + " ", token + "A"}) {
    EXPECT_FALSE(split_token(other)) << other;
  }
  // The last digit of 32 bytes has two bits that mean nothing.
  std::string bent = token;
  bent.back() = static_cast<char>(bent.back() + 1);
  EXPECT_FALSE(split_token(bent));
  EXPECT_FALSE(split_token(std::string(kMaxTokenBytes, 'A') + "." + "AAAA" + "." + "AAAA"));
}

TEST(Token, OtherAlgorithmsAreRefused) {
  constexpr char kPayload[] = R"({"role":"admin"})";
  ASSERT_TRUE(parse_claims(with_payload(kHeader, kPayload)));
  for (const char* header :
       {R"({"alg":"none","typ":"JWT"})", R"({"alg":"None"})", R"({"alg":"hs256"})", R"({"alg":"HS512"})",
        R"({"alg":"RS256"})", R"({"typ":"JWT"})", R"({"alg":["HS256"]})", R"({"alg":"HS256","typ":"JWE"})",
        R"({"alg":"HS256","crit":["exp"]})", R"("HS256")", "", "{"}) {
    EXPECT_FALSE(parse_claims(with_payload(header, kPayload))) << header;
  }
}

TEST(Token, ClaimsOfTheWrongKindAreRefused) {
  for (const char* payload : {R"({})",
                              R"({"role":"root"})",
                              R"({"role":1})",
                              R"({"role":"guest"})",
                              R"({"role":"guest","session":"s"})",
                              R"({"role":"guest","guest":"g"})",
                              R"({"role":"guest","session":"s","guest":"../x"})",
                              R"({"role":"guest","session":"s","guest":""})",
                              R"({"role":"guest","session":"a/b","guest":"g"})",
                              R"({"role":"guest","session":"s","guest":"g","take":"1"})",
                              R"({"role":"admin","session":"s"})",
                              R"({"role":"director"})",
                              R"({"role":"director","session":"s","guest":"g"})",
                              R"({"role":"admin","exp":"never"})",
                              R"({"role":"admin","exp":-1})",
                              R"({"role":"admin","exp":1.5})",
                              R"({"role":"admin","exp":9223372036854775807})",
                              R"({"role":"admin","nbf":true})",
                              R"({"role":"admin","epoch":-1})",
                              R"({"role":"admin","epoch":"1"})",
                              R"({"role":"admin","aud":"other"})",
                              R"({"role":"admin","aud":["other"]})",
                              R"(["admin"])",
                              "{\"role\":\"guest\",\"session\":\"s\",\"guest\":\"\xff\"}"}) {
    EXPECT_FALSE(parse_claims(with_payload(kHeader, payload))) << payload;
  }
  EXPECT_TRUE(parse_claims(with_payload(kHeader, R"({"role":"admin","aud":["x","maycast"],"sub":"somebody"})")));
}

TEST(Token, CoversItsOwnRecordingsAndReboundOnes) {
  TokenClaims claims;
  claims.session = "s";
  claims.guest = "alice";
  EXPECT_TRUE(covers(claims, {"s", "001", "alice"}));
  EXPECT_TRUE(covers(claims, {"s", "002", "alice~2"}));
  for (const RecordingPath& other :
       {RecordingPath{"s", "001", "bob"}, RecordingPath{"s", "001", "alice~"}, RecordingPath{"s", "001", "alice~x"},
        RecordingPath{"s", "001", "alice2"}, RecordingPath{"s", "001", "Alice"}, RecordingPath{"t", "001", "alice"}}) {
    EXPECT_FALSE(covers(claims, other)) << other.text();
  }
  claims.take = "001";
  EXPECT_TRUE(covers(claims, {"s", "001", "alice"}));
  EXPECT_FALSE(covers(claims, {"s", "0001", "alice"}));
}

TEST(Token, TimesHaveALeeway) {
  TokenClaims claims;
  EXPECT_EQ(in_time(claims, 0), TokenTime::valid);
  claims.expires_s = 1000;
  EXPECT_EQ(in_time(claims, 1000 + kTokenLeewayS - 1), TokenTime::valid);
  EXPECT_EQ(in_time(claims, 1000 + kTokenLeewayS), TokenTime::expired);
  claims.not_before_s = 500;
  EXPECT_EQ(in_time(claims, 500 - kTokenLeewayS - 1), TokenTime::too_early);
  EXPECT_EQ(in_time(claims, 500 - kTokenLeewayS), TokenTime::valid);
}

}  // namespace
}  // namespace mc::wire
