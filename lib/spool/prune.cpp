#include "spool/prune.hpp"

#include <algorithm>

#include "spool/journal.hpp"
#include "spool/publish.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

constexpr char kPrunedPrefix[] = ".pruned-";
constexpr int kRecordingLevels = 3;

Status remove_tree(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const auto& entry : entries) {
    const std::string path = sys::join_path(directory, entry.name);
    if (entry.type == sys::FileType::directory) {
      MC_TRY(remove_tree(fs, path));
    } else {
      MC_TRY(fs.remove(path));
    }
  }
  return fs.remove_directory(directory);
}

// The key that signed `name` truly, or why none did.
Result<std::string> check_receipt_file(sys::FileSystem& fs, const std::string& path, const LoadedManifest& loaded,
                                       const std::vector<digest::PublicKey>& keys) {
  MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs, path, wire::kMaxReceiptBytes));
  MC_TRY_ASSIGN(const wire::Receipt receipt, wire::parse_receipt(as_text(bytes)));
  const auto key = std::ranges::find(keys, receipt.key_fingerprint, &digest::PublicKey::fingerprint);
  if (key == keys.end()) return fail(ErrorKind::refused, "its receipt is of a key that was not given");
  MC_TRY(check_receipt(receipt, loaded, *key));
  return receipt.key_fingerprint;
}

Status remove_leftovers_in(sys::FileSystem& fs, const std::string& directory, int levels, std::uint32_t& count) {
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const auto& entry : entries) {
    if (entry.type != sys::FileType::directory) continue;
    const std::string path = sys::join_path(directory, entry.name);
    if (entry.name.starts_with(kPrunedPrefix)) {
      MC_TRY(remove_tree(fs, path));
      ++count;
    } else if (levels > 1 && !entry.name.starts_with('.')) {
      MC_TRY(remove_leftovers_in(fs, path, levels - 1, count));
    }
  }
  return {};
}

}  // namespace

Result<PruneVerdict> may_prune(sys::FileSystem& fs, const std::string& directory,
                               const std::vector<digest::PublicKey>& keys) {
  MC_TRY_ASSIGN(const LoadedManifest loaded, load_manifest(fs, directory));
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  PruneVerdict verdict;
  verdict.reason = loaded.manifest.end ? "no receipt" : "still open";
  for (const auto& entry : entries) {
    const std::string path = sys::join_path(directory, entry.name);
    if (const auto info = fs.info(path)) verdict.bytes += info->size_bytes;
    const auto name = wire::parse_file_name(entry.name);
    if (verdict.removable || !loaded.manifest.end || !name || name->kind != wire::FileKind::receipt) continue;
    const auto signed_by = check_receipt_file(fs, path, loaded, keys);
    verdict.removable = signed_by.has_value();
    verdict.reason = signed_by ? *signed_by : signed_by.error().message;
  }
  const auto keep = [&](std::string why) {
    verdict.removable = false;
    verdict.reason = std::move(why);
  };
  if (!loaded.manifest.damage.empty()) keep("its manifest is damaged");
  const auto local = std::ranges::find_if(entries, [](const sys::DirectoryEntry& entry) {
    return entry.name.starts_with(kAsidePrefix) || parse_journal_name(entry.name);
  });
  if (local != entries.end() && verdict.removable) keep("no server has its '" + local->name + "': look at that first");
  return verdict;
}

Status prune_recording(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const LoadedManifest loaded, load_manifest(fs, directory));
  const std::string parent = sys::parent_path(directory);
  const std::string hidden = sys::join_path(parent, kPrunedPrefix + loaded.manifest.recording_id);
  MC_TRY(fs.rename_new(directory, hidden));
  MC_TRY(fs.sync_directory(parent));
  MC_TRY(remove_tree(fs, hidden));
  return fs.sync_directory(parent);
}

Result<std::uint32_t> remove_leftovers(sys::FileSystem& fs, const std::string& directory) {
  std::uint32_t count = 0;
  MC_TRY(remove_leftovers_in(fs, directory, kRecordingLevels, count));
  return count;
}

}  // namespace mc::spool
