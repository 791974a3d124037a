// Whatever a peer sends on a connection, through Beast's parser with our limits, the framing rules, routes, uploads and
// a real store: the server answers in HTTP or closes, always comes to an end, and goes on serving.
//
// Odd first byte: the input stands behind the head of a PUT that is in order so far, so that bodies are reached.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "digest/sha256.hpp"
#include "require.hpp"
#include "server/server.hpp"
#include "store/file_store.hpp"

namespace {

using namespace mc;

const Log kNoLog = [](LogLevel, std::string_view) {};

struct World {
  std::string directory;
  std::unique_ptr<store::FileStore> store;
  std::optional<store::HeldIndex> index;
  digest::PrivateKey key = digest::PrivateKey::generate().value();
  server::Metrics metrics;
  std::optional<server::Service> service;
  std::unique_ptr<server::Server> server;
  std::uint16_t port = 0;
  std::string put;

  World() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mc-connection-fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory = pattern;
    store = store::FileStore::open(sys::real_file_system(), directory + "/store", kNoLog).value();
    index.emplace(*store, kNoLog);
    service.emplace(*store, *index, key, key.public_key().value(), metrics, kNoLog);
    server::Options options;
    options.listen = {server::parse_listen_address("127.0.0.1:0").value()};
    server = server::Server::start(*service, metrics, options, kNoLog, nullptr).value();
    const std::string& url = server->urls().front();
    port = static_cast<std::uint16_t>(std::atoi(url.c_str() + url.rfind(':') + 1));
    put = "PUT /v1/recordings/s/001/g/chunk_000001.m4s HTTP/1.1\r\nHost: x\r\nMaycast-Recording: " +
          std::string(32, 'a') +
          "\r\nRepr-Digest: " + wire::format_digest(digest::to_base64(digest::sha256(as_bytes(std::string("body"))))) +
          "\r\n";
  }
  ~World() {
    server.reset();
    service.reset();
    index.reset();
    store.reset();
    std::filesystem::remove_all(directory);
  }

  std::string ask(const std::string& bytes) const {
    const sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      std::perror("cannot connect");
      std::abort();
    }
    const timeval patience{10, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)!::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::shutdown(fd.get(), SHUT_WR);
    std::string answer;
    char piece[16384];
    for (;;) {
      const ssize_t n = ::recv(fd.get(), piece, sizeof piece, 0);
      if (n < 0 && errno == EINTR) continue;  // libFuzzer's own alarm
      if (n < 0 && errno != ECONNRESET) {
        std::perror("the server came to no end in ten seconds");
        std::fprintf(stderr, "so far: %s\n", answer.c_str());
        std::abort();
      }
      if (n <= 0) return answer;
      answer.append(piece, static_cast<std::size_t>(n));
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  static unsigned runs = 0;
  if (size < 1) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string answer = world.ask(data[0] % 2 == 1 ? world.put + text : text);
  require(answer.empty() || answer.starts_with("HTTP/1.1 "));
  if (++runs % 1000 == 0) {
    const std::string health = world.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    require(health.starts_with("HTTP/1.1 200 "));
    for (const auto& entry : std::filesystem::directory_iterator(world.directory)) {
      require(entry.path().filename() == "store");
    }
  }
  return 0;
}
