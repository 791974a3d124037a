#include "store/open_store.hpp"

#include "store/file_store.hpp"

namespace mc::store {

Result<std::string> file_store_root(const std::string& where) {
  constexpr std::string_view kFile = "file:";
  if (!where.starts_with(kFile) || where.size() == kFile.size()) {
    return fail(Error{ErrorKind::usage, "'" + where + "' is not a store", 0, "a store is 'file:DIRECTORY'"});
  }
  return where.substr(kFile.size());
}

Result<OpenedStore> open_store(const std::string& where, const Log& log) {
  MC_TRY_ASSIGN(std::string root, file_store_root(where));
  MC_TRY_ASSIGN(auto store, FileStore::open(sys::real_file_system(), root, log));
  return OpenedStore{std::move(store), std::move(root)};
}

}  // namespace mc::store
