#include <gtest/gtest.h>

#include "wire/protocol.hpp"

namespace mc::wire {
namespace {

constexpr char kBase64[] = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=";
const std::string kSha256(64, 'c');

TEST(Protocol, TargetsEncodeEachComponent) {
  EXPECT_EQ(file_target({"studio-a", "001", "alice"}, "chunk_000001.m4s"),
            "/v1/recordings/studio-a/001/alice/chunk_000001.m4s");
  EXPECT_EQ(file_target({"a b", "001", "ア"}, ""), "/v1/recordings/a%20b/001/%E3%82%A2/");
  EXPECT_EQ(file_target({"50%", "001", "what?#"}, "manifest"), "/v1/recordings/50%25/001/what%3F%23/manifest");
  EXPECT_EQ(key_target("0011"), "/v1/keys/0011");
}

TEST(Digest, IsReadOutOfAList) {
  const std::string own = format_digest(kBase64);
  EXPECT_EQ(own, "sha-256=:" + std::string(kBase64) + ":");
  for (const std::string& header : {own, " " + own + " ", "sha-512=:AAAA:, " + own, own + ",md5=:AAAA:", own + ";x=1",
                                    "sha-256=:" + std::string(43, 'A') + "=:, " + own}) {
    EXPECT_EQ(parse_digest(header), kBase64) << header;
  }
}

TEST(Digest, MalformedOrMissingGivesNothing) {
  const std::string b = kBase64;
  for (const std::string& header :
       {std::string(), std::string("sha-512=:AAAA:"), "sha-256=" + b, "sha-256=:" + b, "sha-256=" + b + ":",
        std::string("sha-256=::"), std::string("sha-256=:AAAA:"), "SHA-256=:" + b + ":",
        "sha-256=:" + b + "=:", "sha-256=: " + b.substr(1) + ":",
        "sha-256=:" + b.substr(0, 43) + "A:", std::string(",,,,"), "sha-256=\"" + b + "\""}) {
    EXPECT_EQ(parse_digest(header), std::nullopt) << header;
  }
}

TEST(HeldFile, GoesOverTheWireAndBack) {
  const HeldFile file{"chunk_000001.m4s", 812345, kSha256};
  const std::string line = format_held_file(file);
  EXPECT_EQ(line, R"({"name":"chunk_000001.m4s","size":812345,"sha256":")" + kSha256 + "\"}");
  ASSERT_TRUE(parse_held_file(line));
  EXPECT_EQ(*parse_held_file(line), file);
}

TEST(HeldFile, GarbageIsAProtocolError) {
  for (const std::string& line : {std::string(), std::string("[]"), std::string("{}"), std::string("<html>"),
                                  R"({"name":"../../etc/passwd","size":1,"sha256":")" + kSha256 + "\"}",
                                  R"({"name":".journal","size":1,"sha256":")" + kSha256 + "\"}",
                                  R"({"name":"manifest","size":-1,"sha256":")" + kSha256 + "\"}",
                                  R"({"name":"manifest","size":1.5,"sha256":")" + kSha256 + "\"}",
                                  std::string(R"({"name":"manifest","size":1,"sha256":"ABC"})")}) {
    const auto parsed = parse_held_file(line);
    ASSERT_FALSE(parsed) << line;
    EXPECT_EQ(parsed.error().kind, ErrorKind::protocol);
  }
}

TEST(AuditAnswer, GoesOverTheWireAndBack) {
  for (const AuditAnswer& answer :
       {AuditAnswer{}, AuditAnswer{true, true, {}, "maycast-receipt 1\n…\n"}, AuditAnswer{true, false, {}, ""},
        AuditAnswer{true, false, {{"chunk_000002.m4s", "missing"}, {"init_001.mp4", "damaged"}}, ""}}) {
    const auto parsed = parse_audit_answer(format_audit_answer(answer));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, answer);
  }
}

// never-lose F2, F8: nothing but the whole, consistent answer counts as Synced.
TEST(AuditAnswer, SyncedWithoutProofIsNoAnswer) {
  for (const char* text :
       {"", "ok", "{}", R"({"synced":true})", R"({"closed":true,"synced":true,"faults":[]})",
        R"({"closed":true,"synced":true,"faults":[],"receipt":""})",
        R"({"closed":false,"synced":true,"faults":[],"receipt":"r"})",
        R"({"closed":true,"synced":true,"faults":[{"name":"manifest","problem":"missing"}],"receipt":"r"})",
        R"({"closed":true,"synced":"true","faults":[],"receipt":"r"})", R"({"closed":true,"synced":false,"faults":{}})",
        R"({"closed":true,"synced":false,"faults":["x"]})",
        R"({"closed":true,"synced":false,"faults":[{"name":"../x","problem":"missing"}]})"}) {
    const auto parsed = parse_audit_answer(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::protocol);
  }
}

TEST(Problem, GoesOverTheWireAndBack) {
  const Problem problem{"recording-taken", 409, "another recording has this path", "choose another name"};
  const std::string text = format_problem(problem);
  EXPECT_NE(text.find("urn:maycast:problem:recording-taken"), std::string::npos);
  EXPECT_EQ(parse_problem(text), problem);
}

TEST(Problem, OfSomebodyElseNeverPassesForOurs) {
  const auto parsed = parse_problem(R"({"type":"https://proxy.example/conflict","title":"no","status":99999})");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->type, "https://proxy.example/conflict");
  EXPECT_EQ(parsed->status, 0);
  EXPECT_EQ(parse_problem(R"({"title":"x"})")->type, "about:blank");
  for (const char* text : {"", "{}", "[]", "<html>", R"({"status":500})"}) EXPECT_FALSE(parse_problem(text)) << text;
}

}  // namespace
}  // namespace mc::wire
