#include "control/resolver.hpp"

#include <netdb.h>

#include <boost/asio/post.hpp>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

namespace mc::control {
namespace {

namespace net = boost::asio;

Result<Resolver::Endpoints> look_up(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (code == EAI_NONAME || code == EAI_ADDRFAMILY) {
    // A machine that has only its loopback yet has no configured address.
    hints.ai_flags = AI_NUMERICSERV;
    code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  }
  if (code != 0) {
    return fail(ErrorKind::unavailable, "cannot find the host '" + host + "': " + ::gai_strerror(code));
  }
  Resolver::Endpoints endpoints;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    net::ip::tcp::endpoint endpoint;
    if (each->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
    endpoint.resize(each->ai_addrlen);
    endpoints.push_back(endpoint);
  }
  ::freeaddrinfo(found);
  if (endpoints.empty()) return fail(ErrorKind::unavailable, "the host '" + host + "' has no address");
  return endpoints;
}

}  // namespace

// Outlives the Resolver for as long as a thread is at it.
struct Resolver::Lookup {
  std::mutex mutex;
  net::io_context* io = nullptr;  // null: nobody wants to know any more
  bool is_running = false;
  Done done;

  void finish(Result<Endpoints> result) {
    const std::lock_guard lock(mutex);
    is_running = false;
    if (io == nullptr) return;
    net::post(*io, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
};

Resolver::Resolver(net::io_context& io, std::string host, std::string port)
    : io_(io), host_(std::move(host)), port_(std::move(port)), lookup_(std::make_shared<Lookup>()) {
  lookup_->io = &io;
}

Resolver::~Resolver() {
  const std::lock_guard lock(lookup_->mutex);
  lookup_->io = nullptr;
  lookup_->done = nullptr;
}

void Resolver::resolve(Done done) {
  {
    const std::lock_guard lock(lookup_->mutex);
    lookup_->done = std::move(done);
    if (std::exchange(lookup_->is_running, true)) return;
  }
  boost::system::error_code ec;
  if (net::ip::make_address(host_, ec); !ec) return lookup_->finish(look_up(host_, port_));
  try {
    std::thread([lookup = lookup_, host = host_, port = port_] { lookup->finish(look_up(host, port)); }).detach();
  } catch (const std::system_error& e) {
    lookup_->finish(fail(ErrorKind::unavailable, std::string("cannot look a name up: ") + e.what(), e.code().value()));
  }
}

}  // namespace mc::control
