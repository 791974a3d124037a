#include "mc-verify/run.hpp"

#include <fmt/format.h>

#include <optional>

#include "base/clock.hpp"
#include "cli/app.hpp"
#include "http/client.hpp"
#include "mc-verify/compare.hpp"
#include "mc-verify/receipts.hpp"
#include "mc-verify/store_audit.hpp"
#include "spool/key_files.hpp"
#include "spool/recording.hpp"

namespace mc::tool_verify {
namespace {

struct Arguments {
  std::string recording;  // a directory or a URL
  std::string url;
  std::string receipt;
  std::vector<std::string> keys;
  cli::ConnectionOptions connection;
};

std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out;
}

std::string in_words(const std::vector<spool::Finding>& findings) {
  std::string text;
  for (const spool::Finding& finding : findings) {
    text += one_line(fmt::format("{}: {}: {}", finding.name, finding.problem, finding.detail)) + "\n";
  }
  return text;
}

std::string in_words(const spool::VerifyReport& report, double seconds, bool compared) {
  std::string text = in_words(report.findings);
  for (const std::string& note : report.notes) text += one_line("note: " + note) + "\n";
  text += fmt::format("{}: {}, {} chunks, {} pictures, {} sound frames, {}, {}", one_line(report.path.text()),
                      report.closed ? "closed" : "open", report.chunks, report.video_frames, report.audio_frames,
                      cli::human_bytes(report.bytes), cli::human_duration(seconds));
  for (const std::string& fingerprint : report.receipts) text += ", receipt of key " + fingerprint;
  if (compared) text += ", compared with the server";
  text += report.findings.empty() ? ": all is well\n" : fmt::format(": {} findings\n", report.findings.size());
  return text;
}

json::array as_json(const std::vector<spool::Finding>& findings) {
  json::array list;
  for (const spool::Finding& finding : findings) {
    list.push_back({{"name", finding.name}, {"problem", finding.problem}, {"detail", finding.detail}});
  }
  return list;
}

json::object as_json(const spool::VerifyReport& report, double seconds, bool compared) {
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
          {"findings", as_json(report.findings)},
          {"notes", std::move(notes)}};
}

Result<int> print_report(cli::Invocation& in, const spool::VerifyReport& report, double seconds, bool compared) {
  if (in.json()) {
    MC_TRY(in.print(json::to_text(as_json(report, seconds, compared)) + "\n"));
  } else {
    MC_TRY(in.print(in_words(report, seconds, compared)));
  }
  return report.findings.empty() ? cli::kDone : cli::kNegative;
}

std::string in_words(const ReceiptReport& report) {
  std::string text = in_words(report.findings);
  for (const JudgedReceipt& judged : report.proven) {
    const wire::Receipt& receipt = judged.receipt;
    text += one_line(fmt::format("{}: signed by key {} at {}: {}, recording {}, {} chunks, {}, manifest {}{}",
                                 judged.name, receipt.key_fingerprint, format_utc(receipt.wall_ns), receipt.path.text(),
                                 receipt.recording_id, receipt.chunks, cli::human_bytes(receipt.bytes),
                                 receipt.manifest_sha256, judged.manifest_checked ? " (beside it)" : " (not here)")) +
            "\n";
  }
  return text;
}

json::object as_json(const ReceiptReport& report) {
  json::array receipts;
  for (const JudgedReceipt& judged : report.proven) {
    const wire::Receipt& receipt = judged.receipt;
    receipts.push_back({{"name", judged.name},
                        {"key", receipt.key_fingerprint},
                        {"time", format_utc(receipt.wall_ns)},
                        {"path", receipt.path.text()},
                        {"recording", receipt.recording_id},
                        {"root", receipt.root},
                        {"manifest", receipt.manifest_sha256},
                        {"files", receipt.files},
                        {"chunks", receipt.chunks},
                        {"bytes", receipt.bytes},
                        {"manifest_checked", judged.manifest_checked}});
  }
  return {{"ok", report.findings.empty()}, {"receipts", std::move(receipts)}, {"findings", as_json(report.findings)}};
}

Result<int> verify_receipts(cli::Invocation& in, const Arguments& arguments) {
  if (arguments.keys.empty()) {
    return fail(Error{ErrorKind::usage, "--receipt needs --key", 0,
                      "a receipt proves something only with a key that came another way than the receipt"});
  }
  auto& fs = sys::real_file_system();
  MC_TRY_ASSIGN(const auto keys, spool::read_key_files(fs, arguments.keys));
  MC_TRY_ASSIGN(const ReceiptReport report, check_receipts(fs, arguments.receipt, keys));
  MC_TRY(in.print(in.json() ? json::to_text(as_json(report)) + "\n" : in_words(report)));
  return report.findings.empty() ? cli::kDone : cli::kNegative;
}

Result<http::Client> open_client(const cli::Invocation& in, const Arguments& arguments) {
  http::ClientOptions options{
      .ca_file = arguments.connection.ca_file, .user_agent = "mc-verify", .stop_fd = in.stop.stop_fd()};
  MC_TRY_ASSIGN(options.credential, http::find_credential(arguments.connection.token_file));
  return http::Client::open(std::move(options));
}

bool is_url(const std::string& text) { return text.starts_with("http://") || text.starts_with("https://"); }

Result<int> verify_store(cli::Invocation& in, const Arguments& arguments) {
  if (!arguments.url.empty()) {
    return fail(
        Error{ErrorKind::usage, "DIR is a URL", 0, "a recording's directory comes first, then the server's URL"});
  }
  MC_TRY_ASSIGN(const upload::Remote remote, upload::parse_recording_url(arguments.recording));
  cli::Progress line(in);
  StoreAuditOptions options;
  MC_TRY_ASSIGN(options.keys, spool::read_key_files(sys::real_file_system(), arguments.keys));
  options.stop_fd = in.stop.stop_fd();
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    line.show(fmt::format("{} of {}", cli::human_bytes(done), cli::human_bytes(total)));
  };
  MC_TRY_ASSIGN(auto client, open_client(in, arguments));
  const auto audit = audit_store(client, remote, options);
  line.clear();
  if (!audit && in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());
  if (!audit) return fail(audit.error());
  return print_report(in, audit->report, audit->recorded_s, false);
}

Result<int> verify_directory(cli::Invocation& in, const Arguments& arguments) {
  const bool compares = !arguments.url.empty();
  std::string base_url;
  std::optional<http::Client> client;
  if (compares) {
    MC_TRY_ASSIGN(base_url, http::check_base_url(arguments.url));
    MC_TRY_ASSIGN(client, open_client(in, arguments));
  }
  auto& fs = sys::real_file_system();
  spool::VerifyOptions options;
  MC_TRY_ASSIGN(options.keys, spool::read_key_files(fs, arguments.keys));
  cli::Progress line(in);
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());  // nothing to clean up
    line.show(fmt::format("{} of {}", cli::human_bytes(done), cli::human_bytes(total)));
  };
  MC_TRY_ASSIGN(spool::VerifyReport report, spool::verify_recording(fs, arguments.recording, options));
  line.clear();
  MC_TRY_ASSIGN(const spool::LoadedManifest loaded, spool::load_manifest(fs, arguments.recording));

  if (compares) {
    auto differences = compare_with_server(fs, arguments.recording, base_url, *client);
    if (!differences && in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());
    // What is wrong here is worth knowing also when the server cannot be asked.
    if (!differences) {
      if (!in.json()) MC_TRY(in.print(in_words(report, recorded_seconds(loaded.manifest), false)));
      return fail(std::move(differences).error());
    }
    for (spool::Finding& finding : *differences) report.findings.push_back(std::move(finding));
  }
  return print_report(in, report, recorded_seconds(loaded.manifest), compares);
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Arguments arguments;
  auto* recording = in.app.add_option("DIR", arguments.recording,
                                      "a recording's directory; or its URL on a server, whose store is then read");
  in.app.add_option("URL", arguments.url, "a server that should hold the same: http://host:port or https://host")
      ->needs(recording);
  in.app
      .add_option("--receipt", arguments.receipt, "check a receipt, or those in a directory, with --key and no server")
      ->type_name("PATH")
      ->excludes(recording);
  in.app.add_option("--key", arguments.keys, "file with a public key that receipts must be signed by; may be repeated")
      ->allow_extra_args(false);  // what follows its value is the next argument
  in.add_connection_options(arguments.connection);
  in.parse();

  if (!arguments.receipt.empty()) return verify_receipts(in, arguments);
  if (arguments.recording.empty()) {
    return fail(Error{ErrorKind::usage, "DIR is required", 0, "a recording's directory, its URL, or --receipt"});
  }
  if (is_url(arguments.recording)) return verify_store(in, arguments);
  return verify_directory(in, arguments);
}

}  // namespace mc::tool_verify
