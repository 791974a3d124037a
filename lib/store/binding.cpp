#include "store/binding.hpp"

#include "wire/manifest.hpp"

namespace mc::store {
namespace {

constexpr std::uint64_t kMaxBindingBytes = 64;
constexpr std::size_t kManifestHeadBytes = 4096;  // the header and recording lines are the first two

enum class Wanted : std::uint8_t { id, durable_id };

Result<std::optional<std::string>> own_binding(Store& store, const wire::RecordingPath& path,
                                               Wanted wanted = Wanted::id) {
  const auto object = store.open(path, kBindingName);
  if (!object && object.error().kind == ErrorKind::not_found) return std::nullopt;
  if (!object) return fail(object.error());
  MC_TRY_ASSIGN(const ByteBuffer bytes, read_object(**object, kMaxBindingBytes));
  std::string_view text = as_text(bytes);
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (!wire::is_recording_id(text)) {
    return fail(ErrorKind::damaged, "the binding of '" + path.text() + "' is not a recording id");
  }
  if (wanted == Wanted::durable_id) MC_TRY(store.ensure_durable(path, (*object)->info()));
  return std::string(text);
}

Result<std::optional<std::string>> binding_by_manifest(Store& store, const wire::RecordingPath& path) {
  const auto object = store.open(path, wire::kManifestName);
  if (!object && object.error().kind == ErrorKind::not_found) return std::nullopt;
  if (!object) return fail(object.error());
  ByteBuffer head(kManifestHeadBytes);
  MC_TRY_ASSIGN(const std::size_t n, (*object)->read_at(0, head));
  head.resize(n);
  const wire::Manifest manifest = wire::parse_manifest(head);
  if (!wire::is_recording_id(manifest.recording_id)) return std::nullopt;
  return manifest.recording_id;
}

}  // namespace

Result<std::optional<std::string>> binding(Store& store, const wire::RecordingPath& path) {
  MC_TRY_ASSIGN(auto own, own_binding(store, path));
  if (own) return own;
  return binding_by_manifest(store, path);
}

Result<std::string> bind(Store& store, const wire::RecordingPath& path, const std::string& recording_id) {
  MC_TRY_ASSIGN(auto held, own_binding(store, path, Wanted::durable_id));
  if (held) return std::move(*held);
  MC_TRY_ASSIGN(const auto by_manifest, binding_by_manifest(store, path));
  const std::string wanted = by_manifest.value_or(recording_id);
  MC_TRY_ASSIGN(const PutOutcome outcome, put_if_absent(store, path, kBindingName, wanted + "\n"));
  if (outcome != PutOutcome::conflict) return wanted;
  // Another first PUT was faster.
  MC_TRY_ASSIGN(held, own_binding(store, path, Wanted::durable_id));
  if (!held) return fail(ErrorKind::unavailable, "the binding of '" + path.text() + "' changed while it was made");
  return std::move(*held);
}

}  // namespace mc::store
