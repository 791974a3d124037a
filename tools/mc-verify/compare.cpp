#include "mc-verify/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "digest/sha256.hpp"
#include "upload/remote.hpp"

namespace mc::tool_verify {
namespace {

class Comparison {
 public:
  explicit Comparison(const std::vector<wire::HeldFile>& held) {
    for (const wire::HeldFile& file : held) held_.emplace(file.name, &file);
  }

  void expect(const std::string& name, std::uint64_t bytes, const std::string& sha256) {
    const auto found = held_.find(name);
    if (found == held_.end()) {
      differences_.push_back({name, "missing-there", "the server does not hold it"});
      return;
    }
    const wire::HeldFile& there = *found->second;
    if (there.size_bytes != bytes) {
      differences_.push_back({name, "differs-there", fmt::format("{} bytes there, {} here", there.size_bytes, bytes)});
    } else if (there.sha256 != sha256) {
      differences_.push_back({name, "differs-there", "its SHA-256 is another there"});
    }
    held_.erase(found);
  }

  void differs(const std::string& name, std::string detail) {
    differences_.push_back({name, "differs-there", std::move(detail)});
  }

  // Receipts are the server's own: it may hold some of other keys, and a guest may have fetched none yet.
  std::vector<spool::Finding> finish() && {
    for (const auto& [name, file] : held_) {
      const auto parsed = wire::parse_file_name(name);
      if (parsed && parsed->kind == wire::FileKind::receipt) continue;
      differences_.push_back({std::string(name), "extra-there", "the recording does not list it"});
    }
    return std::move(differences_);
  }

 private:
  std::map<std::string_view, const wire::HeldFile*> held_;
  std::vector<spool::Finding> differences_;
};

}  // namespace

Result<std::vector<spool::Finding>> compare_with_server(sys::FileSystem& fs, const std::string& directory,
                                                        const std::string& base_url, http::Client& client) {
  MC_TRY_ASSIGN(const spool::LoadedManifest loaded, spool::load_manifest(fs, directory));
  const wire::Manifest& manifest = loaded.manifest;
  if (!manifest.path)
    return fail(ErrorKind::damaged, "the manifest of '" + directory + "' does not say which recording it is");

  // Where the guest's name was taken the recording is held as GUEST~N; a receipt says so.
  upload::Remote remote{base_url, *manifest.path, manifest.recording_id};
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  std::vector<std::pair<std::string, std::string>> receipts;
  for (const sys::DirectoryEntry& entry : entries) {
    const auto parsed = wire::parse_file_name(entry.name);
    if (!parsed || parsed->kind != wire::FileKind::receipt) continue;
    const auto bytes = sys::read_file(fs, sys::join_path(directory, entry.name), wire::kMaxReceiptBytes);
    if (!bytes) continue;
    receipts.emplace_back(entry.name, as_text(*bytes));
    if (const auto receipt = wire::parse_receipt(as_text(*bytes)); receipt && check_receipt_content(*receipt, loaded)) {
      remote.path = receipt->path;
    }
  }

  auto reply = upload::get_listing(client, remote);
  if (reply.verdict != upload::Verdict::accepted) return fail(std::move(reply.error));
  MC_TRY_ASSIGN(const auto held, upload::parse_listing(reply.body));

  Comparison comparison(held);
  for (const wire::ManifestFile& file : manifest.files) comparison.expect(file.name, file.bytes(), file.sha256);
  const auto is_manifest = [](const wire::HeldFile& file) { return file.name == wire::kManifestName; };
  // The server gets the manifest of an open recording late or never; it then holds the beginning of ours, or nothing.
  const auto there = std::ranges::find_if(held, is_manifest);
  if (manifest.end || (there != held.end() && there->size_bytes > loaded.bytes.size())) {
    comparison.expect(wire::kManifestName, loaded.bytes.size(), digest::sha256_hex(loaded.bytes));
  } else if (there != held.end()) {
    const ByteView beginning = ByteView(loaded.bytes).first(there->size_bytes);
    comparison.expect(wire::kManifestName, there->size_bytes, digest::sha256_hex(beginning));
  }
  // A receipt is written once; but when the recording was taken out of the store and sent again, there is another one
  // by the same key, and both are true.
  for (const auto& [name, text] : receipts) {
    const auto same = [&name = name](const wire::HeldFile& file) { return file.name == name; };
    const auto other = std::ranges::find_if(held, same);
    if (other == held.end() || other->sha256 == digest::sha256_hex(as_bytes(text))) continue;
    auto fetched = upload::get_file(client, remote, name, wire::kMaxReceiptBytes);
    if (fetched.verdict != upload::Verdict::accepted) return fail(std::move(fetched.error));
    const auto judged = spool::judge_receipt(name, fetched.body, &loaded, {});
    if (judged.finding) comparison.differs(name, judged.finding->detail);
  }
  return std::move(comparison).finish();
}

}  // namespace mc::tool_verify
