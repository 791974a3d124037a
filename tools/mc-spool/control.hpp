// The running writer's socket, `.control` in the recording's directory (mc-spool-format(5)): one JSON line asks, one
// answers. Never waits for a client; a client that is slow to ask or to take its answer is dropped.
//
//   {"command":"mark","text":"…"}  →  {"ok":true,"t_ns":12345}   or   {"ok":false,"error":"…"}
#pragma once

#include <poll.h>

#include <functional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "sys/fd.hpp"

namespace mc::tool_spool {

inline constexpr char kControlName[] = ".control";
inline constexpr std::size_t kMaxMarkBytes = 1024;

class ControlServer {
 public:
  using Handler = std::function<json::object(const json::object& request)>;

  // The caller holds the directory's lock: a socket that lies there is a dead writer's.
  static Result<ControlServer> open(const std::string& directory, Handler handler);
  ControlServer(ControlServer&&) = default;
  ControlServer& operator=(ControlServer&&) = default;
  ~ControlServer();  // removes the socket

  // What to poll for, appended to `wanted`; then, with what poll(2) said, the work.
  void add_to(std::vector<pollfd>& wanted) const;
  void serve(const std::vector<pollfd>& ready);

 private:
  struct Client {
    sys::Fd fd;
    std::string asked;
  };
  ControlServer(std::string path, sys::Fd listener, Handler handler);
  bool serve_client(Client& client);  // false: done with it

  std::string path_;
  sys::Fd listener_;
  Handler handler_;
  std::vector<Client> clients_;
};

// Asks the writer of `directory`. Kinds: unavailable (nobody is recording there), refused (what the writer says).
Result<json::object> ask_writer(const std::string& directory, const json::object& request);

}  // namespace mc::tool_spool
