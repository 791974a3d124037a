// A store by its one variable (design section 5): "file:DIR" now; "s3://bucket/prefix" has its place here.
#pragma once

#include <memory>
#include <string>

#include "base/log.hpp"
#include "store/store.hpp"
#include "sys/file_system.hpp"

namespace mc::store {

struct OpenedStore {
  std::unique_ptr<Store> store;
  std::string local_root;  // the directory of a file store, for what its server keeps beside it; else empty
};
// The directory of "file:DIR", of which nothing is opened. Kind: usage.
Result<std::string> file_store_root(const std::string& where);
// Kinds: usage (no store of a kind that we know), and those of FileStore::open.
Result<OpenedStore> open_store(const std::string& where, const Log& log);

}  // namespace mc::store
