// Tokens: where they come from, to whom they are sent, and that they are read again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "http/client.hpp"
#include "http/credential.hpp"
#include "unit/fake_server.hpp"
#include "unit/scratch_directory.hpp"

namespace mc::http {
namespace {

using test::FakeAnswer;
using test::FakeRequest;
using test::FakeServer;

class Token : public testing::Test {
 protected:
  Token() {
    ::unsetenv("MC_TOKEN_FILE");
    ::unsetenv("CREDENTIALS_DIRECTORY");
  }
  ~Token() override {
    ::unsetenv("MC_TOKEN_FILE");
    ::unsetenv("CREDENTIALS_DIRECTORY");
  }
  std::string file(const std::string& text, const std::string& name = "token") {
    std::ofstream(directory_ / name, std::ios::trunc) << text;
    return directory_ / name;
  }
  Client client(const std::string& path) {
    ClientOptions options;
    options.credential = Credential::open(path).value();
    return std::move(*Client::open(options));
  }
  ScratchDirectory directory_;
};

TEST_F(Token, IsTheTextWithoutItsLineEnd) {
  EXPECT_EQ((*Credential::open(file("aa.bb-_~+/cc==\n")))->token(), "aa.bb-_~+/cc==");
  EXPECT_EQ((*Credential::open(file("  aa\r\n\n")))->token(), "aa");
}

TEST_F(Token, WhatIsNoneIsAMatterOfConfigurationAndIsNotTold) {
  for (const char* text : {"", "\n", "two words", "a\nInjected: yes", "sp\xC3\xA4t", "a:b"}) {
    const auto credential = Credential::open(file(text));
    ASSERT_FALSE(credential) << text;
    EXPECT_EQ(credential.error().kind, ErrorKind::config);
    EXPECT_EQ(credential.error().message.find("Injected"), std::string::npos);
  }
  const auto missing = Credential::open(directory_ / "nothing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::config);
  EXPECT_NE(missing.error().message.find("nothing"), std::string::npos);
}

TEST_F(Token, OptionBeatsEnvironmentBeatsTheServiceManager) {
  EXPECT_EQ(*find_credential(""), nullptr);
  ::setenv("CREDENTIALS_DIRECTORY", std::string(directory_ / "").c_str(), 1);
  EXPECT_EQ(*find_credential(""), nullptr) << "the service has other credentials only";
  file("managed", "mc-token");
  EXPECT_EQ((*find_credential(""))->token(), "managed");
  ::setenv("MC_TOKEN_FILE", file("variable", "b").c_str(), 1);
  EXPECT_EQ((*find_credential(""))->token(), "variable");
  EXPECT_EQ((*find_credential(file("option", "a")))->token(), "option");
  EXPECT_FALSE(find_credential(directory_ / "nothing")) << "what was named and is not there is an error";
}

TEST_F(Token, IsReadAgainWhenItIsRefused) {
  const std::string path = file("old");
  std::vector<std::string> seen;
  FakeServer server([&](const FakeRequest& request) {
    seen.push_back(request.headers.at("authorization") + " " + request.body);
    return FakeAnswer{.status = seen.back().starts_with("Bearer new") ? 201 : 401};
  });
  Client http = client(path);
  const Request put{.method = "PUT", .url = server.url(), .body = as_bytes("media")};
  EXPECT_EQ(http.perform(put)->status, 401);
  file("new");
  EXPECT_EQ(http.perform(put)->status, 201) << "without being asked twice";
  EXPECT_EQ(http.perform(put)->status, 201);
  server.stop();
  EXPECT_EQ(seen,
            (std::vector<std::string>{"Bearer old media", "Bearer old media", "Bearer new media", "Bearer new media"}));
}

TEST_F(Token, AFileThatWentAwayIsAFaultAndTheOldTokenStays) {
  const std::string path = file("old");
  const auto credential = *Credential::open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(credential->other_than("old"), std::nullopt);
  ASSERT_TRUE(credential->fault());
  EXPECT_EQ(credential->token(), "old");
  file("new");
  EXPECT_EQ(credential->other_than("old"), "new");
  EXPECT_FALSE(credential->fault());
}

TEST_F(Token, IsNeverSentToAnotherServer) {
  std::string seen_there = "nothing came", body;
  FakeServer other([&](const FakeRequest& request) {
    const auto found = request.headers.find("authorization");
    seen_there = found == request.headers.end() ? "" : found->second;
    body = request.body;
    return FakeAnswer{.status = 201};
  });
  FakeServer server([&](const FakeRequest&) {
    return FakeAnswer{.status = 307, .more_headers = {"Location: " + other.url() + "/there"}};
  });
  Client http = client(file("mine"));
  EXPECT_EQ(http.perform({.method = "PUT", .url = server.url(), .body = as_bytes("media")})->status, 201);
  other.stop();
  EXPECT_EQ(seen_there, "");
  EXPECT_EQ(body, "media");
}

TEST_F(Token, GoesWithARedirectOnTheSameServerAndSoDoesTheBody) {
  for (const int status : {301, 302, 307, 308}) {
    for (const char* method : {"PUT", "PATCH"}) {
      std::string seen;
      FakeServer server([&](const FakeRequest& request) {
        if (request.target == "/here") return FakeAnswer{.status = status, .more_headers = {"Location: /there"}};
        seen = request.method + " " + request.headers.at("authorization") + " " + request.body;
        return FakeAnswer{.status = 201};
      });
      Client http = client(file("mine"));
      const auto answer = http.perform({.method = method, .url = server.url() + "/here", .body = as_bytes("media")});
      ASSERT_TRUE(answer) << answer.error().message;
      EXPECT_EQ(answer->status, 201);
      server.stop();
      EXPECT_EQ(seen, std::string(method) + " Bearer mine media") << status;
    }
  }
}

TEST_F(Token, SeeOtherIsNoAnswerToAnUpload) {
  FakeServer server([&](const FakeRequest& request) {
    if (request.target == "/here") return FakeAnswer{.status = 303, .more_headers = {"Location: /there"}};
    return FakeAnswer{.status = 200};
  });
  Client http = client(file("mine"));
  for (const char* method : {"PUT", "PATCH"}) {
    const auto answer = http.perform({.method = method, .url = server.url() + "/here", .body = as_bytes("media")});
    ASSERT_FALSE(answer) << answer->status;
    EXPECT_EQ(answer.error().kind, ErrorKind::protocol);
  }
  EXPECT_EQ(http.perform({.url = server.url() + "/here"})->status, 200);
}

}  // namespace
}  // namespace mc::http
