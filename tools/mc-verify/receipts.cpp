#include "mc-verify/receipts.hpp"

#include <optional>

namespace mc::tool_verify {
namespace {

void check_one(sys::FileSystem& fs, const std::string& path, const std::string& name,
               const spool::LoadedManifest* manifest, const std::vector<digest::PublicKey>& keys,
               ReceiptReport& report) {
  const auto bytes = sys::read_file(fs, path, wire::kMaxReceiptBytes);
  if (!bytes) return report.findings.push_back({name, "unreadable", bytes.error().message});
  spool::ReceiptJudgement judged = spool::judge_receipt(name, as_text(*bytes), manifest, keys);
  if (judged.finding) return report.findings.push_back(std::move(*judged.finding));
  report.proven.push_back({name, std::move(judged.receipt), manifest != nullptr});
}

std::string last_component(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

Result<ReceiptReport> check_receipts(sys::FileSystem& fs, const std::string& path,
                                     const std::vector<digest::PublicKey>& keys) {
  ReceiptReport report;
  // The dot follows a symbolic link to a directory.
  const auto directory = fs.info(sys::join_path(path, "."));
  if (directory && directory->type == sys::FileType::directory) {
    MC_TRY_ASSIGN(const spool::LoadedManifest loaded, spool::load_manifest(fs, path));
    MC_TRY_ASSIGN(const auto entries, fs.list(path));
    for (const sys::DirectoryEntry& entry : entries) {
      const auto parsed = wire::parse_file_name(entry.name);
      if (!parsed || parsed->kind != wire::FileKind::receipt) continue;
      check_one(fs, sys::join_path(path, entry.name), entry.name, &loaded, keys, report);
    }
    if (report.proven.empty() && report.findings.empty()) {
      report.findings.push_back({"receipt", "missing", "there is no receipt in '" + path + "'"});
    }
    return report;
  }
  MC_TRY(fs.info(path));
  std::optional<spool::LoadedManifest> beside;
  auto loaded = spool::load_manifest(fs, sys::parent_path(path));
  if (loaded) {
    beside = std::move(*loaded);
  } else if (loaded.error().kind != ErrorKind::not_found) {
    return fail(std::move(loaded).error());
  }
  check_one(fs, path, last_component(path), beside ? &*beside : nullptr, keys, report);
  return report;
}

}  // namespace mc::tool_verify
