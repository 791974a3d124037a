#include "mc-serve/run.hpp"

#include <sys/resource.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/app.hpp"
#include "mc-serve/prune.hpp"
#include "mc-serve/token.hpp"
#include "server/authority.hpp"
#include "server/control_log.hpp"
#include "server/key_file.hpp"
#include "server/server.hpp"
#include "store/open_store.hpp"
#include "sys/service_manager.hpp"

namespace mc::tool_serve {
namespace {

struct Settings {
  std::vector<std::string> listen;  // empty: what was inherited, or the default
  std::string store = "file:./data";
  std::string key;
  std::string tls_certificate;
  std::string tls_key;
  std::string secret_file;
  bool accepts_danger = false;
};

void add_options(cli::Invocation& in, Settings& settings) {
  in.app
      .add_option("--listen", settings.listen,
                  "ADDRESS:PORT to listen on [127.0.0.1:8420]; port 0: any; may be repeated")
      ->type_name("ADDR")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  in.app.add_option("--store", settings.store, "where recordings are kept: file:DIRECTORY")
      ->type_name("STORE")
      ->envname("MC_STORE")
      ->capture_default_str();
  in.app.add_option("--key", settings.key, "the key that signs receipts; made when it is not there")->type_name("FILE");
  in.app
      .add_option("--tls-cert", settings.tls_certificate,
                  "speak TLS, with the certificate chain in this PEM file; read again when it is renewed")
      ->type_name("FILE");
  in.app.add_option("--tls-key", settings.tls_key, "the key of --tls-cert, as PEM")->type_name("FILE");
  in.app
      .add_option("--secret-file", settings.secret_file,
                  "require tokens signed with the secret in this file; read again when it changes")
      ->type_name("FILE");
  in.app.add_flag("--danger-no-tls-no-tokens", settings.accepts_danger,
                  "listen beyond this machine although everybody there may read and write everything");
  in.add_notify_fd();
}

Result<std::optional<server::TlsFiles>> tls_files(const Settings& settings) {
  if (settings.tls_certificate.empty() != settings.tls_key.empty()) {
    return fail(Error{ErrorKind::usage, "--tls-cert and --tls-key need each other", 0, {}});
  }
  if (settings.tls_key.empty()) return std::nullopt;
  return server::TlsFiles{settings.tls_certificate, settings.tls_key};
}

server::Protection protection(const Settings& settings, bool has_secret) {
  return {.tls = !settings.tls_key.empty(), .secret = has_secret};
}

// What the service manager opened for us, and what was asked for; the default when that is nothing.
Status choose_addresses(const Settings& settings, bool has_secret, std::vector<server::ListenAddress>& listen,
                        std::vector<server::InheritedSocket>& inherited) {
  MC_TRY_ASSIGN(auto sockets, sys::take_inherited_sockets());
  std::vector<server::ListenAddress> all;
  for (sys::Fd& socket : sockets) {
    MC_TRY_ASSIGN(auto address, server::address_of(socket));
    all.push_back(address);
    inherited.push_back({std::move(socket), std::move(address)});
  }
  std::vector<std::string> wanted = settings.listen;
  if (wanted.empty() && all.empty()) wanted.emplace_back("127.0.0.1:8420");
  for (const std::string& text : wanted) {
    MC_TRY_ASSIGN(const auto address, server::parse_listen_address(text));
    all.push_back(address);
    listen.push_back(address);
  }
  const auto danger = settings.accepts_danger ? server::Danger::accepted : server::Danger::refused;
  for (const auto& address : all) {
    MC_TRY(server::check_exposure(address, protection(settings, has_secret), danger));
  }
  return {};
}

// Null: no secret is configured, and no tokens are asked for.
Result<std::unique_ptr<server::Authority>> authority(const Settings& settings, const Log& log) {
  auto& fs = sys::real_file_system();
  if (!settings.secret_file.empty()) {
    return server::Authority::open(fs, settings.secret_file, server::SecretMode::owner_only, log);
  }
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  const std::string path = credentials == nullptr ? "" : sys::join_path(credentials, "mc-secret");
  if (path.empty()) return nullptr;
  if (const auto info = fs.info(path); !info && info.error().kind == ErrorKind::not_found) return nullptr;
  return server::Authority::open(fs, path, server::SecretMode::as_given, log);
}

// Each connection needs a descriptor and, while it uploads, a second one.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Settings settings;
  add_options(in, settings);
  TokenOptions token_options;
  const CLI::App* secret_command = add_secret_command(in, token_options);
  const CLI::App* token_command = add_token_command(in, token_options);
  PruneArguments prune_arguments;
  const CLI::App* prune_command = add_prune_command(in, prune_arguments);
  in.parse();
  if (*secret_command) return make_secret(in, token_options);
  if (*token_command) return make_token(in, token_options);
  if (*prune_command) return prune(in, prune_arguments);
  const Log log = in.log();
  server::Options options;
  MC_TRY_ASSIGN(const auto tokens, authority(settings, log));
  std::vector<server::InheritedSocket> inherited;
  MC_TRY(choose_addresses(settings, tokens != nullptr, options.listen, inherited));
  MC_TRY_ASSIGN(options.tls, tls_files(settings));
  allow_many_descriptors();

  MC_TRY_ASSIGN(const auto opened, store::open_store(settings.store, log));
  if (settings.key.empty()) settings.key = sys::join_path(opened.local_root, server::kDefaultKeyName);
  MC_TRY_ASSIGN(const auto key, server::load_or_make_key(sys::real_file_system(), settings.key));
  MC_TRY_ASSIGN(const auto public_key, key.public_key());

  server::Metrics metrics;
  store::HeldIndex index(*opened.store, log);
  std::unique_ptr<server::ControlLog> control_log;
  if (!opened.local_root.empty()) {
    const std::string path = sys::join_path(opened.local_root, server::kControlLogName);
    MC_TRY_ASSIGN(control_log, server::ControlLog::open(sys::real_file_system(), path, log));
  }
  server::Service service(*opened.store, index, key, public_key, metrics, log, {tokens.get(), control_log.get()});
  std::unique_ptr<server::AccessLog> access_log;
  if (in.json()) {
    access_log = std::make_unique<server::AccessLog>([&in](const std::string& line) { return in.print(line); });
  }
  MC_TRY_ASSIGN(const auto server,
                server::Server::start(service, metrics, options, log, access_log.get(), std::move(inherited)));

  json::array urls;
  for (const std::string& url : server->urls()) {
    log(LogLevel::info, "listening on " + url);
    urls.emplace_back(url);
  }
  log(LogLevel::info, "store '" + settings.store + "', key " + public_key.fingerprint());
  if (const std::string missing = server::what_is_missing(protection(settings, tokens != nullptr)); !missing.empty()) {
    log(settings.accepts_danger ? LogLevel::warning : LogLevel::info,
        settings.accepts_danger ? missing + ": whoever reaches this may read and write everything"
                                : "for this machine only: " + missing + " configured");
  }
  MC_TRY(in.event("listening", {{"urls", urls}, {"store", settings.store}, {"key", public_key.fingerprint()}}));
  MC_TRY(sys::notify_ready(in.notify_fd(), server->urls().front()));

  MC_TRY(sys::wait_readable(in.stop.stop_fd(), -1));
  log(LogLevel::info, "finishing the requests in flight");
  (void)sys::notify_service_manager("STOPPING=1");
  server->stop();
  if (access_log) MC_TRY(access_log->finish());
  MC_TRY(in.event("stopped", {}));
  return cli::kDone;
}

}  // namespace mc::tool_serve
