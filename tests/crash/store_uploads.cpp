#include "crash/store_uploads.hpp"

#include <cstdlib>
#include <random>

#include "base/log.hpp"
#include "crash/turns.hpp"
#include "digest/sha256.hpp"
#include "server/service.hpp"
#include "store/binding.hpp"

namespace mc::crash {
namespace {

bool is(const std::string& path, std::string_view part) { return path.find(part) != std::string::npos; }
bool holds_files(const std::string& directory) { return is(directory, "alice") || is(directory, "bob"); }

class ForwardingFile : public sys::File {
 public:
  explicit ForwardingFile(std::unique_ptr<sys::File> real) : real_(std::move(real)) {}
  Status write(ByteView bytes) override { return real_->write(bytes); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
    return real_->read_at(offset, into);
  }
  Result<std::uint64_t> size() override { return real_->size(); }
  Status truncate(std::uint64_t length) override { return real_->truncate(length); }
  Status sync_data() override { return real_->sync_data(); }
  Status sync() override { return real_->sync(); }
  Status close() override { return real_->close(); }

 protected:
  std::unique_ptr<sys::File> real_;
};

class ForwardingFileSystem : public sys::FileSystem {
 public:
  explicit ForwardingFileSystem(sys::FileSystem& real) : real_(real) {}
  Result<std::unique_ptr<sys::File>> open_read(const std::string& path) override {
    MC_TRY(before());
    return wrap(real_.open_read(path), path);
  }
  Result<std::unique_ptr<sys::File>> create(const std::string& path) override {
    MC_TRY(before());
    return wrap(real_.create(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_append(const std::string& path) override {
    MC_TRY(before());
    return wrap(real_.open_append(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_update(const std::string& path) override {
    MC_TRY(before());
    return wrap(real_.open_update(path), path);
  }
  Status rename(const std::string& from, const std::string& to) override {
    MC_TRY(before());
    return real_.rename(from, to);
  }
  Status rename_new(const std::string& from, const std::string& to) override {
    MC_TRY(before());
    return real_.rename_new(from, to);
  }
  Status remove(const std::string& path) override {
    MC_TRY(before());
    return real_.remove(path);
  }
  Status remove_directory(const std::string& path) override {
    MC_TRY(before());
    return real_.remove_directory(path);
  }
  Status make_directory(const std::string& path) override {
    MC_TRY(before());
    return real_.make_directory(path);
  }
  Status sync_directory(const std::string& path) override {
    MC_TRY(before());
    return real_.sync_directory(path);
  }
  Result<std::vector<sys::DirectoryEntry>> list(const std::string& path) override {
    MC_TRY(before());
    return real_.list(path);
  }
  Result<sys::FileInfo> info(const std::string& path) override {
    MC_TRY(before());
    return real_.info(path);
  }
  Result<sys::SpaceInfo> space(const std::string& path) override { return real_.space(path); }

 protected:
  virtual Status before() { return {}; }
  virtual std::unique_ptr<sys::File> wrapped(std::unique_ptr<sys::File> file, const std::string&) { return file; }
  sys::FileSystem& real_;

 private:
  Result<std::unique_ptr<sys::File>> wrap(Result<std::unique_ptr<sys::File>> file, const std::string& path) {
    if (!file) return file;
    return wrapped(std::move(*file), path);
  }
};

// Each operation when it is the thread's turn.
class ScheduledFileSystem final : public ForwardingFileSystem {
 public:
  ScheduledFileSystem(SimFileSystem& sim, Turns& turns) : ForwardingFileSystem(sim), sim_(sim), turns_(turns) {}
  // The stage that the calling thread made last.
  const std::string& last_stage() { return last_stage_.at(static_cast<std::size_t>(Turns::self())); }
  Result<std::unique_ptr<sys::File>> create(const std::string& path) override {
    if (is(path, ".stage-")) last_stage_.at(static_cast<std::size_t>(Turns::self())) = path;
    return ForwardingFileSystem::create(path);
  }
  Status sync_directory(const std::string& path) override {
    turns_.wait();
    const std::size_t began = sim_.log().size();
    turns_.wait();
    return sim_.end_sync_directory(path, began);
  }

 private:
  class ScheduledFile final : public ForwardingFile {
   public:
    ScheduledFile(std::unique_ptr<sys::File> real, Turns& turns) : ForwardingFile(std::move(real)), turns_(turns) {}
    Status write(ByteView bytes) override {
      turns_.wait();
      return real_->write(bytes);
    }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
      turns_.wait();
      return real_->read_at(offset, into);
    }
    Status sync_data() override {
      turns_.wait();
      return real_->sync_data();
    }

   private:
    Turns& turns_;
  };
  Status before() override {
    turns_.wait();
    return {};
  }
  std::unique_ptr<sys::File> wrapped(std::unique_ptr<sys::File> file, const std::string&) override {
    return std::make_unique<ScheduledFile>(std::move(file), turns_);
  }

  SimFileSystem& sim_;
  Turns& turns_;
  std::array<std::string, 16> last_stage_;
};

class MutantStoreFileSystem final : public ForwardingFileSystem {
 public:
  MutantStoreFileSystem(StoreMutant mutant, sys::FileSystem& real) : ForwardingFileSystem(real), mutant_(mutant) {}

  Status rename(const std::string& from, const std::string& to) override {
    return renamed(real_.rename(from, to), from, to);
  }
  Status rename_new(const std::string& from, const std::string& to) override {
    return renamed(real_.rename_new(from, to), from, to);
  }
  Status remove(const std::string& path) override {
    if (mutant_ == StoreMutant::stages_not_discarded && is(path, ".stage-") && Turns::self() < 0) return {};
    return ForwardingFileSystem::remove(path);
  }
  Status sync_directory(const std::string& path) override {
    MC_TRY(before());
    const bool last = holds_files(path);
    if (mutant_ == StoreMutant::directory_not_synced && last) return {};
    if (mutant_ == StoreMutant::parent_not_synced && !last) return {};
    if (mutant_ == StoreMutant::answered_before_directory_sync && last) {
      late_ = path;
      return {};
    }
    if (mutant_ == StoreMutant::answered_by_an_earlier_sync && last) {
      const std::size_t self = static_cast<std::size_t>(Turns::self() + 1);
      if (std::exchange(renamed_during_a_sync_.at(self), false)) return {};
      ++running_[path];
      const Status status = real_.sync_directory(path);
      --running_[path];
      return status;
    }
    return real_.sync_directory(path);
  }

 private:
  class MutantFile final : public ForwardingFile {
   public:
    MutantFile(std::unique_ptr<sys::File> real, MutantStoreFileSystem& fs, std::string path)
        : ForwardingFile(std::move(real)), fs_(fs), path_(std::move(path)) {}
    Status sync_data() override {
      if (fs_.mutant_ == StoreMutant::stage_not_synced && is(path_, ".stage-")) return {};
      if (fs_.mutant_ == StoreMutant::stage_synced_after_rename && is(path_, ".stage-")) {
        fs_.unsynced_[path_] = true;
        return {};
      }
      if (fs_.mutant_ == StoreMutant::part_not_synced && is(path_, ".stage-")) return {};
      return real_->sync_data();
    }
    // A whole file is closed before it is published, a part stays open.
    Status close() override {
      if (fs_.mutant_ == StoreMutant::part_not_synced && is(path_, ".stage-")) MC_TRY(real_->sync_data());
      return real_->close();
    }

   private:
    MutantStoreFileSystem& fs_;
    std::string path_;
  };

  // A flush that was left out comes with the next operation of anybody.
  Status before() override {
    if (!late_) return {};
    const std::string path = *std::exchange(late_, std::nullopt);
    return real_.sync_directory(path);
  }
  std::unique_ptr<sys::File> wrapped(std::unique_ptr<sys::File> file, const std::string& path) override {
    return std::make_unique<MutantFile>(std::move(file), *this, path);
  }
  Status renamed(Status status, const std::string& from, const std::string& to) {
    if (!status) return status;
    MC_TRY(before());
    if (unsynced_.erase(from) > 0) {
      MC_TRY_ASSIGN(const auto file, real_.open_read(to));
      return file->sync_data();
    }
    const auto running = running_.find(sys::parent_path(to));
    renamed_during_a_sync_.at(static_cast<std::size_t>(Turns::self() + 1)) =
        running != running_.end() && running->second > 0;
    return status;
  }

  StoreMutant mutant_;
  std::optional<std::string> late_;
  std::map<std::string, bool> unsynced_;
  std::map<std::string, int> running_;
  std::array<bool, 16> renamed_during_a_sync_{};
};

ByteBuffer some_bytes(std::mt19937& random, std::size_t size) {
  ByteBuffer bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// A server's service on the store. What it would read back in the background it looks for in a store of its own: that
// is another thread's work, and nobody's turn.
class ServiceOn {
 public:
  explicit ServiceOn(store::Store& store)
      : key_(digest::PrivateKey::generate().value()),
        elsewhere_(store::FileStore::open(nothing_, "nothing", no_log(), store::FileStore::Locking::none).value()),
        index_(*elsewhere_, no_log()),
        service_(store, index_, key_, key_.public_key().value(), metrics_, no_log()) {}

  // `tell` gets each offset that the client is told.
  Answer send(const Upload& upload, const std::function<void(std::uint64_t offset)>& tell) {
    server::Request request{"PUT", wire::file_target(upload.path, upload.name), {}};
    request.headers.recording = upload.recording_id;
    request.headers.repr_digest = wire::format_digest(digest::to_base64(digest::sha256(upload.bytes)));
    ByteView rest(upload.bytes);
    auto fed = begin(request);
    for (const std::size_t at : upload.breaks) {
      const ByteView part = rest.first(at - (upload.bytes.size() - rest.size()));
      if (fed->write(part.first(part.size() / 2))) std::abort();
      fed->park(part.subspan(part.size() / 2));
      fed.reset();
      request.method = "HEAD";
      const std::uint64_t offset = offset_in(service_.handle(request));
      tell(offset);
      rest = ByteView(upload.bytes).subspan(static_cast<std::size_t>(offset));
      if (upload.given_up) return Answer::none;
      request.method = "PATCH";
      request.headers.content_type = wire::kPartialUploadType;
      request.headers.upload_offset = std::to_string(offset);
      request.headers.upload_complete = "?1";
      fed = begin(request);
    }
    if (fed->write(rest)) std::abort();
    const int status = fed->finish().status;
    if (status != 200 && status != 201 && status != 409) std::abort();
    return status == 409 ? Answer::conflict : Answer::held;
  }

 private:
  std::unique_ptr<server::Upload> begin(const server::Request& request) {
    auto begun = service_.begin_upload(request, [] {});
    auto* upload = std::get_if<std::unique_ptr<server::Upload>>(&begun);
    if (upload == nullptr) std::abort();
    return std::move(*upload);
  }
  static std::uint64_t offset_in(const server::Response& response) {
    for (const auto& [name, value] : response.headers) {
      if (name == wire::kUploadOffsetHeader) return std::stoull(value);
    }
    std::abort();
  }

  SimFileSystem nothing_;
  digest::PrivateKey key_;
  std::unique_ptr<store::FileStore> elsewhere_;
  store::HeldIndex index_;
  server::Metrics metrics_;
  server::Service service_;
};

// What each client sends, one after the other. Two guests, one name that two clients send alike, one that they send
// differently, a manifest that grows, an upload that is given up.
std::vector<std::vector<Upload>> make_uploads(std::mt19937& random) {
  const wire::RecordingPath alice{"s", "001", "alice"};
  const wire::RecordingPath bob{"s", random() % 2 == 0 ? "001" : "002", "bob"};
  const std::string a(32, 'a'), b(32, 'b');
  const auto chunk = [&](std::uint32_t n) { return wire::chunk_name({n}); };
  const auto size = [&] { return 1 + random() % 3000; };

  const Upload shared{alice, a, chunk(1), some_bytes(random, size()), false};
  Upload other = shared;
  if (random() % 2 == 0) other.bytes = some_bytes(random, size());
  ByteBuffer longer = some_bytes(random, 600 + random() % 1000);
  const Upload manifest{alice, a, wire::kManifestName, ByteBuffer(longer.begin(), longer.begin() + 300), false};
  std::vector<std::vector<Upload>> clients(6);
  clients[0] = {shared, {alice, a, chunk(2), some_bytes(random, size()), false}};
  clients[1] = {other, {alice, a, chunk(3), some_bytes(random, size()), false}};
  clients[2] = {manifest, {alice, a, wire::kManifestName, longer, false}};
  clients[3] = {{bob, b, chunk(1), some_bytes(random, size()), true},
                {alice, a, chunk(4), some_bytes(random, size()), random() % 4 == 0},
                {bob, b, chunk(1), some_bytes(random, size()), false}};
  clients[4] = {{alice, a, chunk(5), some_bytes(random, 2000 + size()), false, {1 + random() % 700, 1500}},
                {alice, a, chunk(6), some_bytes(random, 1000 + size()), random() % 3 == 0, {1 + random() % 999}}};
  clients[5] = {{alice, a, chunk(7), some_bytes(random, size()), false},
                {alice, a, chunk(8), some_bytes(random, size()), false}};
  return clients;
}

}  // namespace

const char* name(StoreMutant mutant) {
  switch (mutant) {
    case StoreMutant::none: return "none";
    case StoreMutant::stage_not_synced: return "stage_not_synced";
    case StoreMutant::stage_synced_after_rename: return "stage_synced_after_rename";
    case StoreMutant::directory_not_synced: return "directory_not_synced";
    case StoreMutant::parent_not_synced: return "parent_not_synced";
    case StoreMutant::answered_before_directory_sync: return "answered_before_directory_sync";
    case StoreMutant::answered_by_an_earlier_sync: return "answered_by_an_earlier_sync";
    case StoreMutant::stages_not_discarded: return "stages_not_discarded";
    case StoreMutant::part_not_synced: return "part_not_synced";
  }
  return "";
}

std::unique_ptr<sys::FileSystem> plant(StoreMutant mutant, sys::FileSystem& fs) {
  return std::make_unique<MutantStoreFileSystem>(mutant, fs);
}

Result<Answer> put(store::Store& store, const Upload& upload) {
  MC_TRY(store::binding(store, upload.path));
  MC_TRY_ASSIGN(const auto staged, store.stage(upload.path, upload.name));
  const ByteView bytes(upload.bytes);
  MC_TRY(staged->write(bytes.first(bytes.size() / 2)));
  if (upload.given_up) return Answer::none;
  MC_TRY(staged->write(bytes.subspan(bytes.size() / 2)));
  MC_TRY_ASSIGN(const std::string bound, store::bind(store, upload.path, upload.recording_id));
  if (bound != upload.recording_id) return Answer::conflict;
  if (upload.name == wire::kManifestName) {
    if (const auto held = store.open(upload.path, upload.name)) {
      MC_TRY_ASSIGN(const ByteBuffer before, store::read_object(**held, 1 << 20));
      if (before.size() < bytes.size() && as_text(bytes).starts_with(as_text(before))) {
        MC_TRY_ASSIGN(const bool replaced, staged->publish_over((*held)->info(), store::Displaced::drop));
        return replaced ? Answer::held : Answer::none;
      }
    }
  }
  MC_TRY_ASSIGN(const auto outcome, staged->publish(store::OnConflict::quarantine));
  return outcome == store::PutOutcome::conflict ? Answer::conflict : Answer::held;
}

Uploaded upload_all(std::uint32_t seed, StoreMutant mutant) {
  std::mt19937 random(seed);
  const auto clients = make_uploads(random);
  Uploaded uploaded;
  SimFileSystem sim;
  Turns turns(seed + 1);
  ScheduledFileSystem scheduled(sim, turns);
  const auto planted = plant(mutant, scheduled);
  sys::FileSystem& fs = mutant == StoreMutant::none ? scheduled : *planted;
  const auto store = store::FileStore::open(fs, kStoreRoot, no_log(), store::FileStore::Locking::none);
  if (!store) std::abort();

  std::optional<ServiceOn> service(**store);

  std::vector<std::function<void()>> bodies;
  for (const auto& client : clients) {
    const std::size_t first = uploaded.uploads.size();
    uploaded.uploads.insert(uploaded.uploads.end(), client.begin(), client.end());
    bodies.emplace_back([&, first] {
      for (std::size_t i = 0; i < client.size(); ++i) {
        const auto tell = [&](std::uint64_t offset) {
          turns.wait();
          uploaded.announced.push_back({first + i, scheduled.last_stage(), offset});
          sim.acknowledge(kAnnounced + uploaded.announced.size() - 1);
        };
        const auto answer =
            client[i].breaks.empty() ? put(**store, client[i]) : Result<Answer>(service->send(client[i], tell));
        if (!answer) std::abort();
        turns.wait();
        if (*answer != Answer::none) sim.acknowledge(first + i + (*answer == Answer::conflict ? kConflict : 0));
      }
    });
  }
  turns.run(bodies);
  uploaded.commits = (*store)->commits();
  uploaded.log = sim.log();
  service.reset();
  return uploaded;
}

}  // namespace mc::crash
