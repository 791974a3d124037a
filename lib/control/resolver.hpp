// A name's addresses, looked up so that nobody has to wait for it: getaddrinfo(3) may take half a minute and cannot be
// broken off, so it works on a thread that is left to itself. Asio's own resolver joins that thread when it ends, which
// is why it is not used. Private to this module.
//
// One lookup at a time: whoever asks while one is going on gets what that one finds, and whoever asked before gets
// nothing. Answers come as handlers of the io_context; none comes after the Resolver is gone.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace mc::control {

class Resolver {
 public:
  using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;
  using Done = std::function<void(Result<Endpoints>)>;  // kind: unavailable

  Resolver(boost::asio::io_context& io, std::string host, std::string port);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  void resolve(Done done);  // from a handler of the io_context

 private:
  struct Lookup;
  boost::asio::io_context& io_;
  const std::string host_, port_;
  const std::shared_ptr<Lookup> lookup_;
};

}  // namespace mc::control
