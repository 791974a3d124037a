// A file store's documents, and what lies in a take.
#include <algorithm>
#include <cerrno>

#include "digest/sha256.hpp"
#include "store/file_store.hpp"
#include "wire/names.hpp"
#include "wire/session.hpp"

namespace mc::store {
namespace {

bool is_missing(const Error& error) { return error.kind == ErrorKind::not_found || error.sys_errno == ENOTDIR; }

Result<std::optional<std::string>> read_text(sys::FileSystem& fs, const std::string& path) {
  auto bytes = sys::read_file(fs, path, wire::kMaxSessionBytes);
  if (!bytes && is_missing(bytes.error())) return std::nullopt;
  if (!bytes) return fail(std::move(bytes).error());
  return std::string(as_text(*bytes));
}

}  // namespace

Result<std::vector<std::string>> FileStore::recordings(const std::string& session, const std::string& take) {
  const auto entries = fs_.list(sys::join_path(sys::join_path(root_, session), take));
  std::vector<std::string> found;
  if (!entries && is_missing(entries.error())) return found;
  if (!entries) return fail(entries.error());
  for (const sys::DirectoryEntry& entry : *entries) {
    if (entry.type == sys::FileType::directory && wire::is_name(entry.name)) found.push_back(entry.name);
  }
  return found;
}

Result<std::optional<Document>> FileStore::read_document(const std::string& session) {
  const std::string directory = sys::join_path(root_, session);
  const std::string path = sys::join_path(directory, kDocumentName);
  const std::lock_guard swapping(lock_of(directory));
  MC_TRY_ASSIGN(auto text, read_text(fs_, path));
  if (!text) return std::nullopt;
  Document document{std::move(*text), {}};
  document.token = digest::sha256_hex(as_bytes(document.text));
  {
    const std::lock_guard lock(durable_mutex_);
    const auto found = durable_tokens_.find(path);
    if (found != durable_tokens_.end() && found->second == document.token) return document;
  }
  // Of an earlier run that died, or of a swap that failed, between the rename and the sync.
  MC_TRY(fs_.sync_directory(root_));
  MC_TRY(commit_names(directory));
  const std::lock_guard lock(durable_mutex_);
  durable_tokens_[path] = document.token;
  return document;
}

Status FileStore::replace_document(const std::string& directory, std::string_view text) {
  MC_TRY(fs_.make_directory(directory));
  MC_TRY(fs_.sync_directory(root_));
  const std::string staged = sys::join_path(directory, kStagePrefix + std::to_string(next_stage_.fetch_add(1)));
  MC_TRY(sys::stage_file(fs_, staged, as_bytes(text)));
  if (auto renamed = fs_.rename(staged, sys::join_path(directory, kDocumentName)); !renamed) {
    (void)fs_.remove(staged);
    return renamed;
  }
  return commit_names(directory);
}

Result<bool> FileStore::swap_document(const std::string& session, const std::optional<std::string>& expected,
                                      std::string_view text) {
  const std::string directory = sys::join_path(root_, session);
  const std::string path = sys::join_path(directory, kDocumentName);
  const std::lock_guard swapping(lock_of(directory));
  MC_TRY_ASSIGN(const auto held, read_text(fs_, path));
  if (held.has_value() != expected.has_value()) return false;
  if (held && digest::sha256_hex(as_bytes(*held)) != *expected) return false;
  auto replaced = replace_document(directory, text);
  // A refused upload took the session's empty directory away again.
  if (!replaced && replaced.error().sys_errno == ENOENT) replaced = replace_document(directory, text);
  if (!replaced) return fail(std::move(replaced).error());
  const std::lock_guard lock(durable_mutex_);
  durable_tokens_[path] = digest::sha256_hex(as_bytes(text));
  return true;
}

}  // namespace mc::store
