// Does a server hold the same as a directory? By the server's listing, in both directions, and the manifest's bytes.
#pragma once

#include <string>
#include <vector>

#include "http/client.hpp"
#include "spool/recording.hpp"

namespace mc::tool_verify {

// What differs; empty: equal. An Error: the server could not be asked.
// A file that the recording lists but the server does not hold is "missing-there"; one that differs is "differs-there";
// one that only the server holds is "extra-there".
Result<std::vector<spool::Finding>> compare_with_server(sys::FileSystem& fs, const std::string& directory,
                                                        const std::string& base_url, http::Client& client);

}  // namespace mc::tool_verify
