#include "mc-spool/control.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "sys/file_system.hpp"
#include "sys/local_socket.hpp"

namespace mc::tool_spool {
namespace {

constexpr std::size_t kMaxClients = 8;
constexpr std::size_t kMaxRequestBytes = 8192;
constexpr int kAnswerTimeoutMs = 30'000;  // a writer may be waiting for its disk

}  // namespace

ControlServer::ControlServer(std::string path, sys::Fd listener, Handler handler)
    : path_(std::move(path)), listener_(std::move(listener)), handler_(std::move(handler)) {}

Result<ControlServer> ControlServer::open(const std::string& directory, Handler handler) {
  std::string path = sys::join_path(directory, kControlName);
  MC_TRY_ASSIGN(sys::Fd listener, sys::listen_local(path));
  return ControlServer(std::move(path), std::move(listener), std::move(handler));
}

ControlServer::~ControlServer() {
  if (listener_.valid()) ::unlink(path_.c_str());
}

void ControlServer::add_to(std::vector<pollfd>& wanted) const {
  if (clients_.size() < kMaxClients) wanted.push_back({listener_.get(), POLLIN, 0});
  for (const Client& client : clients_) wanted.push_back({client.fd.get(), POLLIN, 0});
}

void ControlServer::serve(const std::vector<pollfd>& ready) {
  const auto is_ready = [&](const sys::Fd& fd) {
    return std::ranges::any_of(ready, [&](const pollfd& p) { return p.fd == fd.get() && p.revents != 0; });
  };
  std::erase_if(clients_, [&](Client& client) { return is_ready(client.fd) && !serve_client(client); });
  if (!is_ready(listener_)) return;
  auto fd = sys::accept_local(listener_);
  if (fd && fd->valid()) clients_.push_back({std::move(*fd), {}});
}

bool ControlServer::serve_client(Client& client) {
  std::array<char, 1024> buffer{};
  const ssize_t n = ::recv(client.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  client.asked.append(buffer.data(), static_cast<std::size_t>(n));
  const auto end = client.asked.find('\n');
  if (end == std::string::npos) return client.asked.size() < kMaxRequestBytes;
  const auto request = json::parse_object(client.asked.substr(0, end));
  const json::object answer =
      request ? handler_(*request) : json::object{{"ok", false}, {"error", "the request is not JSON"}};
  const std::string line = json::to_text(answer) + "\n";
  // Shorter than a socket's buffer: goes out at once or not at all.
  (void)::send(client.fd.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return false;
}

Result<json::object> ask_writer(const std::string& directory, const json::object& request) {
  auto connected = sys::connect_local(sys::join_path(directory, kControlName));
  if (!connected) {
    const ErrorKind kind = connected.error().kind;
    if (kind != ErrorKind::not_found && kind != ErrorKind::unavailable) return fail(std::move(connected).error());
    return fail(Error{ErrorKind::unavailable, "nobody is recording into '" + directory + "'",
                      connected.error().sys_errno, "marks go to the running mc-spool write"});
  }
  MC_TRY(sys::write_all(connected->get(), as_bytes(json::to_text(request) + "\n"), "the writer's socket"));
  std::string answer;
  while (answer.find('\n') == std::string::npos) {
    MC_TRY_ASSIGN(const bool ready, sys::wait_readable(connected->get(), kAnswerTimeoutMs));
    if (!ready) return fail(ErrorKind::unavailable, "the writer of '" + directory + "' does not answer");
    std::array<std::uint8_t, 1024> buffer{};
    MC_TRY_ASSIGN(const std::size_t n, sys::read_some(connected->get(), buffer, -1, "the writer's socket"));
    if (n == 0) return fail(ErrorKind::unavailable, "the writer of '" + directory + "' ended before it answered");
    answer += as_text({buffer.data(), n});
  }
  MC_TRY_ASSIGN(json::object object, json::parse_object(answer.substr(0, answer.find('\n'))));
  const auto* ok = object.if_contains("ok");
  if (ok == nullptr || !ok->is_bool() || !ok->as_bool()) {
    return fail(ErrorKind::refused, json::get_string(object, "error").value_or("the writer said no"));
  }
  return object;
}

}  // namespace mc::tool_spool
