#include "mc-direct/run.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <functional>

#include "cli/app.hpp"
#include "control/session_client.hpp"
#include "mc-direct/get.hpp"
#include "mc-direct/watch.hpp"
#include "sys/file_system.hpp"
#include "wire/join_url.hpp"

namespace mc::tool_direct {
namespace {

struct Arguments {
  std::string server;
  std::string session, take;
  std::vector<std::string> guests;
  std::string save_token;
  std::string state = "synced";
  std::string timeout;
  std::string directory = ".";
  unsigned parallel = 3;
  double patience_s = 30;
  bool force = false;
  cli::ConnectionOptions connection;
};

class Director {
 public:
  Director(cli::Invocation& in, const Arguments& arguments) : in_(in), arguments_(arguments) {}

  Result<int> create() {
    MC_TRY_ASSIGN(auto client, connect(false));
    MC_TRY_ASSIGN(const std::string path, token_path());
    MC_TRY_ASSIGN(const std::string key, kept_key(path + ".request"));
    const auto created = client.create(arguments_.session, arguments_.guests, key);
    if (created) return keep(*created, path);
    // Refused for good: another request is another one.
    if (created.error().kind != ErrorKind::unavailable) (void)sys::real_file_system().remove(path + ".request");
    return fail(created.error());
  }

  Result<int> invite() {
    MC_TRY_ASSIGN(auto client, connect(true));
    MC_TRY_ASSIGN(const auto invited, client.invite(arguments_.session, arguments_.guests));
    return invitations(invited, {});
  }

  Result<int> command(control::Command command) {
    if (command == control::Command::finish && !arguments_.force) {
      return fail(Error{ErrorKind::usage, "to finish a take is to give up what is missing of it", 0,
                        "say --force when that is what you want"});
    }
    MC_TRY_ASSIGN(auto client, connect(true));
    MC_TRY_ASSIGN(const auto answer, client.command(arguments_.session, command, arguments_.take));
    if (answer.refused) {
      in_.log()(LogLevel::error, "not done: " + answer.refused->why);
      MC_TRY(in_.event("refused", {{"state", wire::name(answer.refused->state)},
                                   {"take", answer.refused->take},
                                   {"why", answer.refused->why}}));
      return cli::kNegative;
    }
    const wire::SessionView& view = *answer.view;
    const wire::TakeView* take = view.find(arguments_.take);
    if (take == nullptr && !view.takes.empty()) take = &view.takes.back();
    if (take == nullptr) return fail(ErrorKind::protocol, "the server's answer has no take");
    json::array missing;
    for (const std::string& line : take->missing) missing.emplace_back(line);
    MC_TRY(in_.event("decided", {{"take", take->name},
                                 {"state", wire::name(take->state)},
                                 {"t0", format_utc(take->t0_ns)},
                                 {"missing", std::move(missing)}}));
    if (!in_.json()) MC_TRY(in_.print(take->name + "\n"));
    in_.log()(LogLevel::info, fmt::format("take {} is {}", take->name, wire::name(take->state)));
    for (const std::string& line : take->missing) in_.log()(LogLevel::warning, "missing: " + line);
    return cli::kDone;
  }

  Result<int> show() {
    MC_TRY_ASSIGN(auto client, connect(true));
    return status(in_, client, arguments_.session);
  }

  Result<int> look_on() {
    MC_TRY_ASSIGN(auto client, connect(true));
    return watch(in_, client, arguments_.session);
  }

  Result<int> wait_for() {
    WaitOptions options{arguments_.session, arguments_.take, {}, {}};
    const auto state = wire::parse_take_state(arguments_.state);
    if (!state) {
      return fail(Error{ErrorKind::usage, "'" + arguments_.state + "' is no state", 0,
                        "it is recording, finalizing, synced or incomplete"});
    }
    options.state = *state;
    if (!arguments_.timeout.empty()) {
      MC_TRY_ASSIGN(options.timeout_s, parse_timeout(arguments_.timeout));
    }
    MC_TRY_ASSIGN(auto client, connect(true));
    return wait(in_, client, options);
  }

  Result<int> get_all() {
    MC_TRY_ASSIGN(auto client, connect(true));
    GetOptions options{base_url_, arguments_.session, arguments_.take, arguments_.directory, arguments_.parallel,
                       http_};
    return get(in_, client, options);
  }

 private:
  // With `saved`, the token that `new` has put aside for the session, when no other is named.
  Result<control::SessionClient> connect(bool saved) {
    if (arguments_.server.empty()) {
      return fail(Error{ErrorKind::usage, "no server is named", 0, "give --server URL, or set MC_SERVER"});
    }
    MC_TRY_ASSIGN(base_url_, http::check_base_url(arguments_.server));
    std::string token_file = arguments_.connection.token_file;
    if (token_file.empty() && saved && std::getenv("MC_TOKEN_FILE") == nullptr) {
      MC_TRY_ASSIGN(const std::string path, token_path());
      if (sys::real_file_system().info(path)) token_file = path;
    }
    http_.ca_file = arguments_.connection.ca_file;
    MC_TRY_ASSIGN(http_.credential, http::find_credential(token_file));
    http_.user_agent = "mc-direct";
    http_.stop_fd = in_.stop.stop_fd();
    return control::SessionClient::open({.base_url = base_url_,
                                         .http = http_,
                                         .patience_ms = static_cast<std::int64_t>(arguments_.patience_s * 1000),
                                         .log = in_.log()});
  }

  // Where the XDG base directory specification wants what is neither configuration nor cache.
  Result<std::string> token_path() const {
    if (!arguments_.save_token.empty()) return arguments_.save_token;
    const char* state = std::getenv("XDG_STATE_HOME");
    const char* home = std::getenv("HOME");
    std::string directory;
    if (state != nullptr && *state == '/') {
      directory = state;
    } else if (home != nullptr && *home != '\0') {
      directory = sys::join_path(home, ".local/state");
    } else {
      return fail(Error{ErrorKind::config, "neither XDG_STATE_HOME nor HOME is set", 0, "give --save-token FILE"});
    }
    return sys::join_path(sys::join_path(directory, "maycast"), "director-" + wire::percent_encode(arguments_.session));
  }

  // `new` may be killed before it has kept what it is told once: its request has a name that outlives it, and who runs
  // it again gets the answer again.
  Result<std::string> kept_key(const std::string& path) const {
    if (const auto kept = sys::read_file(sys::real_file_system(), path, 256); kept && !kept->empty()) {
      return std::string(as_text(*kept));
    }
    MC_TRY_ASSIGN(std::string key, control::SessionClient::new_key());
    MC_TRY(save(path, key));
    return key;
  }

  Result<int> keep(const wire::SessionCreated& created, const std::string& path) {
    std::string saved;
    if (!created.director_token.empty()) {
      auto kept = save(path, created.director_token + "\n");
      if (!kept) {
        return fail(std::move(kept)
                        .error()
                        .within("the session is there, but its token cannot be kept")
                        .with_hint("make room and run the same command again"));
      }
      saved = path;
      in_.log()(LogLevel::info, "the director's token is in '" + saved + "'");
    }
    MC_TRY_ASSIGN(const int code, invitations(created, saved));
    (void)sys::real_file_system().remove(path + ".request");
    return code;
  }

  // A file that nobody else can read.
  static Status save(const std::string& path, const std::string& text) {
    auto& fs = sys::real_file_system();
    const mode_t before = ::umask(077);
    Status saved = sys::make_directories(fs, sys::parent_path(path));
    if (saved) saved = sys::stage_file(fs, path + ".new", as_bytes(text));
    if (saved) saved = sys::publish_file(fs, path + ".new", path);
    ::umask(before);
    return saved;
  }

  Result<int> invitations(const wire::SessionCreated& answer, const std::string& saved) {
    json::array urls;
    std::string lines;
    for (const wire::Invitation& invitation : answer.invitations) {
      const std::string url =
          wire::format_join_url({base_url_, arguments_.session, invitation.guest, invitation.code, answer.session.key});
      urls.push_back(json::object{{"guest", invitation.guest}, {"join_url", url}});
      lines += url + "\n";
    }
    if (!in_.json()) MC_TRY(in_.print(lines));
    json::object event{{"session", arguments_.session}, {"guests", std::move(urls)}};
    if (!saved.empty()) event["token_file"] = saved;
    MC_TRY(in_.event("invited", std::move(event)));
    return cli::kDone;
  }

  // "60", "60s", "5m", "1h".
  static Result<double> parse_timeout(const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const std::string unit(end);
    const double factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
    if (end == text.c_str() || factor == 0 || !(value >= 0 && value < 1e9)) {
      return fail(Error{ErrorKind::usage, "'" + text + "' is not a length of time", 0, "write 60s, 5m or 1h"});
    }
    return value * factor;
  }

  cli::Invocation& in_;
  const Arguments& arguments_;
  std::string base_url_;
  http::ClientOptions http_;
};

}  // namespace

Result<int> run(cli::Invocation& in) {
  Arguments arguments;
  in.app.add_option("--server", arguments.server, "the server: http://host:port or https://host")
      ->type_name("URL")
      ->envname("MC_SERVER");
  in.app.add_option("--patience", arguments.patience_s, "seconds to go on asking a server that does not answer")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  in.app.add_option("--save-token", arguments.save_token, "where the director's token is kept")->type_name("FILE");
  in.add_connection_options(arguments.connection);
  in.app.require_subcommand(1);
  in.app.fallthrough();

  using Action = std::function<Result<int>(Director&)>;
  std::vector<std::pair<CLI::App*, Action>> actions;
  const auto add = [&](const char* name, const char* what, Action action) {
    CLI::App* command = in.app.add_subcommand(name, what);
    command->add_option("SESSION", arguments.session, "the session's name")->required();
    actions.emplace_back(command, std::move(action));
    return command;
  };
  const auto guests = [&](CLI::App* command) {
    command->add_option("--guest", arguments.guests, "a guest's name; may be repeated")
        ->allow_extra_args(false)
        ->required();
  };
  guests(add("new", "make a session, and print its join URLs", [](Director& d) { return d.create(); }));
  guests(add("invite", "more guests, or a new code for one", [](Director& d) { return d.invite(); }));
  add("rec", "start everybody: the next take", [](Director& d) { return d.command(control::Command::rec); });
  add("stop", "stop everybody", [](Director& d) {
    return d.command(control::Command::stop);
  })->add_option("TAKE", arguments.take, "which take is meant; otherwise the one that is recording");
  CLI::App* finish = add("finish", "give up what is missing of a take",
                         [](Director& d) { return d.command(control::Command::finish); });
  finish->add_option("TAKE", arguments.take, "the take")->required();
  finish->add_flag("--force", arguments.force, "yes, that is what is wanted");
  add("status", "how it stands", [](Director& d) { return d.show(); });
  add("watch", "how it stands, until a signal", [](Director& d) { return d.look_on(); });
  CLI::App* wait = add("wait", "until a take is in a state", [](Director& d) { return d.wait_for(); });
  wait->add_option("TAKE", arguments.take, "the take; otherwise the last one");
  wait->add_option("--state", arguments.state, "recording, finalizing, synced or incomplete")->capture_default_str();
  wait->add_option("--timeout", arguments.timeout, "give up with exit 75: 60s, 5m, 1h")->type_name("TIME");
  CLI::App* get = add("get", "the joined files of a take", [](Director& d) { return d.get_all(); });
  get->add_option("TAKE", arguments.take, "the take")->required();
  get->add_option("-o,--output", arguments.directory, "the directory to put them in")
      ->type_name("DIR")
      ->capture_default_str();
  get->add_option("--parallel", arguments.parallel, "files on their way at the same time")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  in.parse();

  if (!wire::is_name(arguments.session)) {
    return fail(Error{ErrorKind::usage, "'" + arguments.session + "' is no name for a session", 0, {}});
  }
  for (const std::string& guest : arguments.guests) {
    if (!wire::is_name(guest)) return fail(ErrorKind::usage, "'" + guest + "' is no name for a guest");
  }
  if (!arguments.take.empty() && !wire::is_take(arguments.take)) {
    return fail(Error{ErrorKind::usage, "'" + arguments.take + "' is no take", 0, "takes are numbers like 001"});
  }
  Director director(in, arguments);
  for (const auto& [command, action] : actions) {
    if (!*command) continue;
    auto done = action(director);
    if (!done && done.error().sys_errno == EINTR && in.stop.signal_number() != 0) {
      sys::die_by_signal(in.stop.signal_number());
    }
    return done;
  }
  return fail(ErrorKind::bug, "no command");
}

}  // namespace mc::tool_direct
