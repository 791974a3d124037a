#include "rig/upload_watch.hpp"

#include <csignal>

#include "rig/monotonic.hpp"

namespace mc::rig {
namespace {

constexpr std::int64_t kAgainNs = 2'000'000'000;
constexpr std::int64_t kRefusedAgainNs = 60'000'000'000;  // what was refused for good may be allowed by somebody
constexpr int kTryAgain = 75;

}  // namespace

void UploadWatch::look(const Order& order) {
  if (push_) {
    if (const auto status = push_->status()) {
      push_.reset();
      synced_ = *status == 0;
      const bool soon = *status == kTryAgain || *status == 1 || *status > 128;
      start_at_ns_ = monotonic_ns() + (soon ? kAgainNs : kRefusedAgainNs);
      if (!synced_) log_(LogLevel::warning, "mc-push ended with " + std::to_string(*status) + "; it is started again");
    }
  }
  read();
  if (push_ || synced_ || monotonic_ns() < start_at_ns_) return;
  if (const auto started = start(order); !started) {
    trouble_ = started.error().message;
    start_at_ns_ = monotonic_ns() + kAgainNs;
  }
}

Status UploadWatch::start(const Order& order) {
  MC_TRY_ASSIGN(const std::string program, sys::find_sibling_program("mc-push"));
  MC_TRY_ASSIGN(const sys::Fd said, sys::open_output(path_));
  sys::ProcessOptions process{.program = program, .arguments = {"--json", "--quiet", "--follow"}};
  for (const auto& [option, value] :
       {std::pair{"--token-file", &order.token_file}, std::pair{"--cacert", &order.ca_file},
        std::pair{"--key", &order.key_file}, std::pair{"--limit-rate", &order.limit_rate}}) {
    if (!value->empty()) process.arguments.insert(process.arguments.end(), {option, *value});
  }
  process.arguments.insert(process.arguments.end(), {order.directory, order.server});
  process.out_fd = said.get();
  process.err_fd = log_fd_;
  MC_TRY_ASSIGN(push_, sys::Process::start(process));
  return {};
}

void UploadWatch::add_to(std::vector<pollfd>& wanted) const {
  if (push_) wanted.push_back({push_->fd(), POLLIN, 0});
}

void UploadWatch::end() {
  if (push_) push_->signal(SIGTERM);
}

void UploadWatch::read() {
  const auto file = sys::real_file_system().open_read(path_);
  if (!file) return;
  ByteBuffer piece(64 * 1024);
  for (;;) {
    const auto n = (*file)->read_at(read_bytes_, piece);
    if (!n || *n == 0) return;
    read_bytes_ += *n;
    pending_ += as_text({piece.data(), *n});
    std::size_t begin = 0;
    for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (const auto event = json::parse_object(std::string_view(pending_).substr(begin, end - begin))) hear(*event);
    }
    pending_.erase(0, begin);
  }
}

void UploadWatch::hear(const json::object& event) {
  const std::string name = json::get_string(event, "event").value_or("");
  if (name == "uploaded") {
    const std::string file = json::get_string(event, "name").value_or("");
    if (file.starts_with("chunk_")) chunks_.insert(file);
  }
  if (name == "started" || name == "uploaded" || name == "synced") trouble_.clear();
  if (name == "waiting" || name == "alarm" || name == "failed" || name == "damaged") {
    trouble_ = "upload: " + json::get_string(event, "reason").value_or(name);
  }
}

}  // namespace mc::rig
