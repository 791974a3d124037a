#include "store/open_store.hpp"

#include "store/file_store.hpp"

namespace mc::store {

Result<OpenedStore> open_store(const std::string& where, const Log& log) {
  constexpr std::string_view kFile = "file:";
  if (!where.starts_with(kFile) || where.size() == kFile.size()) {
    return fail(Error{ErrorKind::usage, "'" + where + "' is not a store", 0, "a store is 'file:DIRECTORY'"});
  }
  std::string root = where.substr(kFile.size());
  MC_TRY_ASSIGN(auto store, FileStore::open(sys::real_file_system(), root, log));
  return OpenedStore{std::move(store), std::move(root)};
}

}  // namespace mc::store
