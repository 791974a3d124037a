#include "store/store.hpp"

namespace mc::store {

Status Store::ensure_durable(const wire::RecordingPath& path, const ObjectInfo&) { return sync(path); }

Result<PutOutcome> put_if_absent(Store& store, const wire::RecordingPath& path, const std::string& name,
                                 std::string_view text) {
  MC_TRY_ASSIGN(const auto staged, store.stage(path, name));
  MC_TRY(staged->write(as_bytes(text)));
  return staged->publish(OnConflict::discard);
}

Result<ByteBuffer> read_object(Object& object, std::uint64_t limit_bytes) {
  const std::uint64_t size = object.info().size_bytes;
  if (size > limit_bytes) {
    return fail(ErrorKind::damaged, "'" + object.info().name + "' is too large: " + std::to_string(size) + " bytes");
  }
  ByteBuffer bytes(size);
  MC_TRY_ASSIGN(const std::size_t n, object.read_at(0, bytes));
  bytes.resize(n);
  return bytes;
}

}  // namespace mc::store
