#include "mc-mux/run.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <memory>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "cli/app.hpp"
#include "media/fragmenter.hpp"
#include "media/source.hpp"
#include "sys/fd.hpp"

namespace mc::tool_mux {
namespace {

struct Options {
  std::string input = "-";
  std::string output;
  std::string format;
  std::string t0;
  media::TimeStamps time_stamps = media::TimeStamps::given;
};

// Seconds since the Unix epoch with up to nine digits of fraction, or RFC 3339.
Result<std::int64_t> parse_t0(const std::string& text) {
  const auto bad = [&text] {
    return fail(
        Error{ErrorKind::usage, "not a time: '" + text + "'", 0, "seconds since the epoch, or 2026-11-22T10:00:00Z"});
  };
  if (text.find('T') != std::string::npos) {
    const auto t0 = parse_utc(text);
    if (!t0) return bad();
    return *t0;
  }
  std::int64_t seconds = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seconds);
  if (error != std::errc() || seconds < 0 || seconds > 253'402'300'799) return bad();
  std::int64_t fraction = 0;
  if (rest != end) {
    const std::string digits(rest + 1, end);
    if (*rest != '.' || digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return bad();
    }
    fraction = std::stoll((digits + "000000000").substr(0, 9));
  }
  return seconds * static_cast<std::int64_t>(kNanosecondsPerSecond) + fraction;
}

Result<sys::Fd> open_input(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail(sys::errno_error(errno, "cannot open '" + path + "'"));
  struct stat info {};
  if (::fstat(fd.get(), &info) == 0 && S_ISDIR(info.st_mode))
    return fail(sys::errno_error(EISDIR, "cannot read '" + path + "'"));
  return fd;
}

// Opened when there is something to put into it.
class OutputFile {
 public:
  OutputFile(std::string path, int input_fd) : path_(std::move(path)), input_fd_(input_fd) {}

  Result<int> open() {
    if (path_.empty() || path_ == "-") return STDOUT_FILENO;
    fd_ = sys::Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    if (!fd_.valid()) {
      Error error = sys::errno_error(errno, "cannot create '" + path_ + "'");
      if (error.kind == ErrorKind::not_found) error.kind = ErrorKind::no_space;  // "cannot create", exit 73
      return fail(std::move(error));
    }
    struct stat in {
    }, out{};
    if (::fstat(input_fd_, &in) == 0 && ::fstat(fd_.get(), &out) == 0 && S_ISREG(out.st_mode) &&
        in.st_dev == out.st_dev && in.st_ino == out.st_ino) {
      return fail(ErrorKind::usage, "'" + path_ + "' is both input and output");
    }
    if (S_ISREG(out.st_mode) && ::ftruncate(fd_.get(), 0) != 0) {
      return fail(sys::errno_error(errno, "cannot truncate '" + path_ + "'"));
    }
    return fd_.get();
  }
  Status close() { return fd_.valid() ? fd_.close("'" + path_ + "'") : Status{}; }

 private:
  std::string path_;
  int input_fd_;
  sys::Fd fd_;
};

Result<int> mux(cli::Invocation& in, const Options& options, int input_fd, const media::FragmenterOptions& how) {
  const std::string what = options.input == "-" ? "stdin" : "'" + options.input + "'";
  OutputFile file(options.output, input_fd);
  media::GatherWriter out([&file] { return file.open(); },
                          options.output.empty() || options.output == "-" ? "stdout" : "'" + options.output + "'");
  std::unique_ptr<media::Fragmenter> fragmenter;
  media::ByteInput input(input_fd, what, in.stop.stop_fd(), [&fragmenter](bool nothing_came) -> Result<int> {
    return fragmenter ? fragmenter->before_read(nothing_came) : Result<int>(-1);
  });
  MC_TRY_ASSIGN(const auto source, media::open_source(input, {options.format, in.log()}));
  fragmenter = std::make_unique<media::Fragmenter>(*source, out, how);
  Status read;
  for (;;) {
    auto packet = source->next();
    if (!packet) {
      read = fail(std::move(packet).error());
      break;
    }
    if (!*packet) break;
    if (read = fragmenter->add(**packet); !read) break;
  }
  // What came before the failure is passed on all the same.
  const media::SourceEnd end = source->end();
  const bool whole = read && end.torn_bytes == 0 && end.damaged_bytes == 0 && !input.cut_off();
  Status finished = fragmenter->finish(whole ? media::InputEnd::whole : media::InputEnd::broken);
  if (finished) finished = file.close();
  MC_TRY(read);
  if (!finished && !fragmenter->wrote_init()) return fail(std::move(finished).error().within(what));
  MC_TRY(finished);
  if (end.torn_bytes > 0) {
    in.log()(LogLevel::warning,
             what + " ends inside a packet: its " + std::to_string(end.torn_bytes) + " bytes are left out");
  }
  if (end.damaged_bytes > 0) {
    return fail(ErrorKind::damaged, what + ": " + std::to_string(end.damaged_bytes) + " damaged bytes were left out");
  }
  return cli::kDone;
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Options options;
  in.app.add_option("input", options.input, "file to read; - or nothing: stdin");
  in.app.add_option("-o,--output", options.output, "file to write; - is stdout even if that is a terminal");
  in.app.add_option("--t0", options.t0, "time of the recording's zero: seconds since the epoch, or RFC 3339");
  in.app.add_option("--timestamps", options.time_stamps, "given (by the packets), or arrival (for input without any)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, media::TimeStamps>{
          {"given", media::TimeStamps::given}, {"arrival", media::TimeStamps::arrival}}))
      ->option_text("given|arrival");
  in.app.add_option("--format", options.format, "name of the input's container, instead of looking at its bytes");
  in.parse();
  if (in.json()) {
    return fail(Error{ErrorKind::usage, "--json has no place here: stdout carries the media", 0, "see man mc-mux"});
  }
  media::FragmenterOptions how;
  how.time_stamps = options.time_stamps;
  how.log = in.log();
  if (!options.t0.empty()) {
    MC_TRY_ASSIGN(how.t0_wall_ns, parse_t0(options.t0));
  }
  if (options.output.empty() || options.output == "-") MC_TRY(in.check_binary_stdout(options.output == "-"));
  if (options.input == "-") return mux(in, options, STDIN_FILENO, how);
  MC_TRY_ASSIGN(const sys::Fd fd, open_input(options.input));
  return mux(in, options, fd.get(), how);
}

}  // namespace mc::tool_mux
