#include "sys/local_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sys/file_system.hpp"

namespace mc::sys {
namespace {

// An address of `path`, valid as long as `directory` is open.
struct Address {
  Fd directory;
  sockaddr_un un{};
};

Result<Address> address_of(const std::string& path) {
  Address address;
  std::string name = path;
  if (path.size() >= sizeof address.un.sun_path) {
    const std::string parent = parent_path(path);
    address.directory = Fd(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!address.directory.valid()) return fail(errno_error(errno, "cannot open '" + parent + "'"));
    name = "/proc/self/fd/" + std::to_string(address.directory.get()) + "/" + path.substr(path.rfind('/') + 1);
  }
  if (name.empty() || name.size() >= sizeof address.un.sun_path) {
    return fail(ErrorKind::usage, "not the path of a socket: '" + path + "'");
  }
  address.un.sun_family = AF_UNIX;
  std::memcpy(address.un.sun_path, name.c_str(), name.size());
  return address;
}

Result<Fd> new_socket(int flags) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid()) return fail(errno_error(errno, "cannot create a socket"));
  return fd;
}

}  // namespace

Result<Fd> listen_local(const std::string& path) {
  MC_TRY_ASSIGN(const Address address, address_of(path));
  MC_TRY_ASSIGN(Fd fd, new_socket(SOCK_NONBLOCK));
  ::unlink(path.c_str());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.un), sizeof address.un) != 0 ||
      ::listen(fd.get(), 16) != 0) {
    return fail(errno_error(errno, "cannot listen at '" + path + "'"));
  }
  return fd;
}

Result<Fd> accept_local(const Fd& listener) {
  const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) return Fd(fd);
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return Fd();
  return fail(errno_error(errno, "cannot accept a connection"));
}

Result<Fd> connect_local(const std::string& path) {
  MC_TRY_ASSIGN(const Address address, address_of(path));
  MC_TRY_ASSIGN(Fd fd, new_socket(0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.un), sizeof address.un) != 0) {
    Error error = errno_error(errno, "cannot connect to '" + path + "'");
    if (error.sys_errno == ECONNREFUSED) error.kind = ErrorKind::unavailable;
    return fail(std::move(error));
  }
  return fd;
}

}  // namespace mc::sys
