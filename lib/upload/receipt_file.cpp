#include "upload/receipt_file.hpp"

#include <unistd.h>

namespace mc::upload {
namespace {

tl::unexpected<Error> wrong(const std::string& why) {
  return fail(ErrorKind::protocol, "the server's receipt proves nothing: " + why);
}

}  // namespace

Result<std::optional<wire::Receipt>> find_receipt(sys::FileSystem& fs, const std::string& directory,
                                                  const spool::LoadedManifest& manifest, const digest::PublicKey& key) {
  const std::string path = sys::join_path(directory, wire::receipt_name(key.fingerprint()));
  const auto bytes = sys::read_file(fs, path, wire::kMaxReceiptBytes);
  if (!bytes && (bytes.error().kind == ErrorKind::not_found || bytes.error().kind == ErrorKind::damaged)) {
    return std::nullopt;
  }
  if (!bytes) return fail(bytes.error());
  auto receipt = wire::parse_receipt(as_text(*bytes));
  if (!receipt || !spool::check_receipt(*receipt, manifest, key)) return std::nullopt;
  MC_TRY(fs.sync_directory(directory));
  return std::move(*receipt);
}

Result<std::string> keep_receipt(sys::FileSystem& fs, const std::string& directory, const std::string& text,
                                 const wire::RecordingPath& held_as, const spool::LoadedManifest& manifest,
                                 const digest::PublicKey& key) {
  const auto receipt = wire::parse_receipt(text);
  if (!receipt) return wrong(receipt.error().message);
  if (const auto status = spool::check_receipt(*receipt, manifest, key); !status) return wrong(status.error().message);
  if (receipt->path != held_as) return wrong("it is for '" + receipt->path.text() + "'");

  const std::string name = wire::receipt_name(receipt->key_fingerprint);
  const std::string path = sys::join_path(directory, name);
  // The process id keeps two uploaders on one recording out of each other's stage.
  const std::string mark = "." + name + "." + std::to_string(::getpid());
  MC_TRY_ASSIGN(const auto before, find_receipt(fs, directory, manifest, key));
  if (before) return name;
  if (fs.info(path)) MC_TRY(fs.rename(path, sys::join_path(directory, mark + ".wrong")));
  const std::string staged = sys::join_path(directory, mark + ".stage");
  MC_TRY(sys::stage_file(fs, staged, as_bytes(text)));
  MC_TRY(sys::publish_file(fs, staged, path));
  return name;
}

}  // namespace mc::upload
