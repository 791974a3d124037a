#include "rig/inhibitor.hpp"

namespace mc::rig {

void Inhibitor::hold(const std::string& why) {
  if (!asked_) {
    asked_ = true;
    if (const Status started = start(why); !started) log_(LogLevel::info, started.error().message);
  }
  if (!holder_) return;
  const auto status = holder_->status();
  if (!status) return;
  log_(LogLevel::info, "systemd-inhibit ended with " + std::to_string(*status) + ": the machine may be shut down");
  held_ = sys::Fd();
  holder_.reset();
}

Status Inhibitor::start(const std::string& why) {
  MC_TRY_ASSIGN(const std::string program, sys::find_sibling_program("systemd-inhibit"));
  MC_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  MC_TRY_ASSIGN(holder_, sys::Process::start({.program = program,
                                              .arguments = {"--what=shutdown:sleep", "--mode=block", "--who=mc-guest",
                                                            "--why=" + why, "cat"},
                                              .in_fd = pipe.read_end.get()}));
  held_ = std::move(pipe.write_end);
  return {};
}

}  // namespace mc::rig
