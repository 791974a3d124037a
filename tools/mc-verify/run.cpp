#include "mc-verify/run.hpp"

#include <fmt/format.h>

#include "cli/app.hpp"
#include "http/client.hpp"
#include "mc-verify/compare.hpp"
#include "spool/key_files.hpp"
#include "spool/recording.hpp"

namespace mc::tool_verify {
namespace {

struct Arguments {
  std::string directory;
  std::string url;
  std::vector<std::string> keys;
  cli::ConnectionOptions connection;
};

double recorded_seconds(const spool::LoadedManifest& loaded) {
  double seconds = 0;
  for (const wire::ManifestFile& file : loaded.manifest.files) {
    if (file.chunk) seconds += file.chunk->duration.seconds();
  }
  return seconds;
}

std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out;
}

std::string in_words(const spool::VerifyReport& report, double seconds, bool compared) {
  std::string text;
  for (const spool::Finding& finding : report.findings) {
    text += one_line(fmt::format("{}: {}: {}", finding.name, finding.problem, finding.detail)) + "\n";
  }
  for (const std::string& note : report.notes) text += one_line("note: " + note) + "\n";
  text += fmt::format("{}: {}, {} chunks, {} pictures, {} sound frames, {}, {}", one_line(report.path.text()),
                      report.closed ? "closed" : "open", report.chunks, report.video_frames, report.audio_frames,
                      cli::human_bytes(report.bytes), cli::human_duration(seconds));
  for (const std::string& fingerprint : report.receipts) text += ", receipt of key " + fingerprint;
  if (compared) text += ", compared with the server";
  text += report.findings.empty() ? ": all is well\n" : fmt::format(": {} findings\n", report.findings.size());
  return text;
}

json::object as_json(const spool::VerifyReport& report, double seconds, bool compared) {
  json::array findings;
  for (const spool::Finding& finding : report.findings) {
    findings.push_back({{"name", finding.name}, {"problem", finding.problem}, {"detail", finding.detail}});
  }
  json::array notes;
  for (const std::string& note : report.notes) notes.push_back(json::value(note));
  json::array receipts;
  for (const std::string& fingerprint : report.receipts) receipts.push_back(json::value(fingerprint));
  return {{"ok", report.findings.empty()},
          {"closed", report.closed},
          {"recording", report.recording_id},
          {"path", report.path.text()},
          {"root", report.root},
          {"chunks", report.chunks},
          {"bytes", report.bytes},
          {"video_frames", report.video_frames},
          {"audio_frames", report.audio_frames},
          {"duration_s", seconds},
          {"receipts", std::move(receipts)},
          {"compared", compared},
          {"findings", std::move(findings)},
          {"notes", std::move(notes)}};
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Arguments arguments;
  in.app.add_option("DIR", arguments.directory, "a recording")->required();
  in.app.add_option("URL", arguments.url, "a server that should hold the same: http://host:port or https://host");
  in.app.add_option("--key", arguments.keys, "file with a public key that receipts must be signed by; may be repeated")
      ->allow_extra_args(false);  // what follows its value is the next argument
  in.add_connection_options(arguments.connection);
  in.parse();

  if (arguments.directory.starts_with("http://") || arguments.directory.starts_with("https://")) {
    return fail(
        Error{ErrorKind::usage, "DIR is a URL", 0, "a recording's directory comes first, then the server's URL"});
  }
  const bool compares = !arguments.url.empty();
  std::string base_url;
  std::shared_ptr<http::Credential> credential;
  if (compares) {
    MC_TRY_ASSIGN(base_url, http::check_base_url(arguments.url));
    MC_TRY_ASSIGN(credential, http::find_credential(arguments.connection.token_file));
  }
  auto& fs = sys::real_file_system();
  spool::VerifyOptions options;
  MC_TRY_ASSIGN(options.keys, spool::read_key_files(fs, arguments.keys));
  cli::Progress line(in);
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());  // nothing to clean up
    line.show(fmt::format("{} of {}", cli::human_bytes(done), cli::human_bytes(total)));
  };
  MC_TRY_ASSIGN(spool::VerifyReport report, spool::verify_recording(fs, arguments.directory, options));
  line.clear();
  MC_TRY_ASSIGN(const spool::LoadedManifest loaded, spool::load_manifest(fs, arguments.directory));

  if (compares) {
    http::ClientOptions client_options{
        .ca_file = arguments.connection.ca_file, .user_agent = "mc-verify", .stop_fd = in.stop.stop_fd()};
    client_options.credential = credential;
    MC_TRY_ASSIGN(auto client, http::Client::open(client_options));
    auto differences = compare_with_server(fs, arguments.directory, base_url, client);
    if (!differences && in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());
    // What is wrong here is worth knowing also when the server cannot be asked.
    if (!differences) {
      if (!in.json()) MC_TRY(in.print(in_words(report, recorded_seconds(loaded), false)));
      return fail(std::move(differences).error());
    }
    for (spool::Finding& finding : *differences) report.findings.push_back(std::move(finding));
  }
  const double seconds = recorded_seconds(loaded);
  if (in.json()) {
    MC_TRY(in.print(json::to_text(as_json(report, seconds, compares)) + "\n"));
  } else {
    MC_TRY(in.print(in_words(report, seconds, compares)));
  }
  return report.findings.empty() ? cli::kDone : cli::kNegative;
}

}  // namespace mc::tool_verify
