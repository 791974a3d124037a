// What a client writes into the request line and the fields that we look at: the target becomes a checked path or none,
// a range never leaves the file.
#include "require.hpp"
#include "server/conditional.hpp"
#include "server/listen_address.hpp"
#include "server/route.hpp"

namespace {

void check_path(const mc::wire::RecordingPath& path) {
  require(mc::wire::is_name(path.session) && mc::wire::is_take(path.take) && mc::wire::is_name(path.guest));
  require(path.text().find("/.") == std::string::npos && path.session[0] != '.');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::server;
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);

  const Route route = parse_route(text);
  if (const auto* file = std::get_if<FileRoute>(&route)) {
    check_path(file->path);
    require(mc::wire::parse_file_name(file->name).has_value());
  }
  if (const auto* listing = std::get_if<ListingRoute>(&route)) check_path(listing->path);

  const std::uint64_t length = data[1];
  RequestHeaders headers;
  const auto half = text.size() / 2;
  headers.range = data[0] & 1 ? text : "bytes=" + text.substr(0, half);
  if (data[0] & 2) headers.if_range = text.substr(half);
  if (data[0] & 4) headers.if_none_match = text.substr(half);
  const Selection selection = select(headers, entity_tag(std::string(64, 'a')), length);
  require(selection.length <= length);
  require(selection.status != 206 || (selection.length > 0 && selection.first + selection.length <= length));

  (void)parse_listen_address(text);
  return 0;
}
