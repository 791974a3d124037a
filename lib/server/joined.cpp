#include "server/joined.hpp"

#include <algorithm>

#include "digest/sha256.hpp"
#include "join/stream.hpp"
#include "server/conditional.hpp"
#include "spool/recording.hpp"

namespace mc::server {
namespace {

constexpr std::size_t kMaxNamed = 100;  // of the files at fault, in an answer

join::Reader store_reader(store::Store& store, wire::RecordingPath path) {
  auto object = std::make_shared<std::unique_ptr<store::Object>>();
  return [&store, path = std::move(path), object](const std::string& name, std::uint64_t offset,
                                                  std::span<std::uint8_t> into) -> Result<std::size_t> {
    if (!*object || (*object)->info().name != name) {
      object->reset();
      MC_TRY_ASSIGN(*object, store.open(path, name));
    }
    return (*object)->read_at(offset, into);
  };
}

Response recording_open(std::string detail) {
  return problem(409, "recording-open", "the recording is not closed yet", std::move(detail));
}
Response recording_damaged(std::string detail) {
  return problem(409, "recording-damaged", "the recording is not whole", std::move(detail));
}

std::string to_text(const std::vector<wire::AuditFault>& faults) {
  std::string text;
  for (std::size_t i = 0; i < std::min(faults.size(), kMaxNamed); ++i) {
    text += (i > 0 ? ", " : "") + faults[i].name + " is " + faults[i].problem;
  }
  if (faults.size() > kMaxNamed) text += " and " + std::to_string(faults.size() - kMaxNamed) + " more";
  return text;
}

std::string key_of(const wire::RecordingPath& path, join::Tracks tracks, const std::vector<store::ObjectInfo>& held) {
  digest::Sha256 tokens;
  for (const store::ObjectInfo& info : held) tokens.update(as_bytes(info.name + " " + info.token + "\n"));
  return path.text() + (tracks == join::Tracks::sound ? " sound " : " all ") + tokens.hex();
}

std::size_t memory_of(const join::Plan& plan) {
  constexpr std::size_t kNames = 96;  // a chunk's name and hash, on the heap
  return plan.head.size() + plan.ranges.size() * sizeof(join::Range) +
         plan.files.size() * (sizeof(join::PlannedFile) + kNames);
}

}  // namespace

class Joiner::Body final : public store::Object {
 public:
  Body(Joiner& joiner, wire::RecordingPath path, std::shared_ptr<const Joined> joined)
      : joiner_(joiner),
        path_(std::move(path)),
        joined_(std::move(joined)),
        stream_(joined_->plan, store_reader(joiner.store_, path_)) {
    info_.size_bytes = joined_->plan.size_bytes;
  }

  const store::ObjectInfo& info() const override { return info_; }
  Status settle() override { return {}; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
    auto n = stream_.read_at(offset, into);
    if (!n) give_up(n.error());
    return n;
  }

 private:
  // Whatever was known of these files did not hold: they are read anew, so that the next request is told.
  void give_up(const Error& error) {
    joiner_.log_(LogLevel::warning, "the download of '" + path_.text() + "' is cut: " + error.message);
    for (const join::PlannedFile& file : joined_->plan.files) {
      if (error.message.starts_with("'" + file.name + "'")) (void)joiner_.index_.read_again(path_, file.name);
    }
  }

  Joiner& joiner_;
  const wire::RecordingPath path_;
  const std::shared_ptr<const Joined> joined_;
  join::Stream stream_;
  store::ObjectInfo info_;
};

Result<Response> Joiner::get(const wire::RecordingPath& path, join::Tracks tracks, const RequestHeaders& headers) {
  const auto held = store_.list(path);
  if (!held && held.error().kind == ErrorKind::not_found) return not_found("no such recording is held");
  if (!held) return fail(held.error());
  const auto object = store_.open(path, wire::kManifestName);
  if (!object && object.error().kind == ErrorKind::not_found) return recording_open("its manifest has not come yet");
  if (!object) return fail(object.error());
  MC_TRY_ASSIGN(ByteBuffer bytes, store::read_object(**object, spool::kMaxManifestBytes));
  const spool::LoadedManifest loaded = spool::load_manifest_bytes(std::move(bytes));
  const wire::Manifest& manifest = loaded.manifest;
  if (const auto objection = check_manifest(loaded.bytes, manifest, manifest.recording_id)) {
    return recording_damaged("manifest is damaged: " + objection.detail);
  }
  if (!manifest.end) return recording_open("its manifest has no end yet; mc-join joins what there is");
  if (manifest.chunk_count() == 0) return recording_damaged("it is empty: its manifest lists no chunk");
  MC_TRY_ASSIGN(const auto faults, auditor_.find_faults(path, manifest, *held));
  if (!faults.empty()) return recording_damaged(to_text(faults));

  const std::string key = key_of(path, tracks, *held);
  auto joined = kept(key);
  if (!joined) {
    auto plan = join::make_plan(loaded, store_reader(store_, path), tracks);
    if (!plan && plan.error().kind == ErrorKind::not_found) return not_found(plan.error().message);
    if (!plan && plan.error().kind == ErrorKind::damaged) return recording_damaged(plan.error().message);
    if (!plan) return fail(plan.error());
    const std::string tag = digest::sha256_hex(loaded.bytes) + digest::sha256_hex(plan->head);
    joined = std::make_shared<const Joined>(Joined{std::move(*plan), entity_tag(digest::sha256_hex(as_bytes(tag)))});
    keep(key, joined);
  }

  const std::uint64_t size = joined->plan.size_bytes;
  const Selection selection = select(headers, joined->etag, size);
  const bool has_picture = joined->plan.has_picture;
  Response response = selected_response(selection, joined->etag, size, has_picture ? "video/mp4" : "audio/mp4");
  if (selection.status == 200 || selection.status == 206) {
    response.object = ObjectBody{std::make_unique<Body>(*this, path, joined), selection.first, selection.length};
  }
  return response;
}

std::shared_ptr<const Joiner::Joined> Joiner::kept(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(recent_, key, &Kept::key);
  if (found == recent_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found);
  return found->joined;
}

void Joiner::keep(const std::string& key, std::shared_ptr<const Joined> joined) {
  const std::lock_guard lock(mutex_);
  recent_.remove_if([&](const Kept& one) { return one.key == key; });
  recent_.push_front({key, std::move(joined)});
  std::size_t bytes = 0;
  for (auto at = recent_.begin(); at != recent_.end();) {
    bytes += memory_of(at->joined->plan);
    at = bytes > kMaxPlanBytes && at != recent_.begin() ? recent_.erase(at) : std::next(at);
  }
}

}  // namespace mc::server
