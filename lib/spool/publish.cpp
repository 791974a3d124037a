#include "spool/publish.hpp"

#include <algorithm>
#include <cstdint>

#include "spool/manifest_repair.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

std::string stage_path(const std::string& directory, const std::string& name) {
  return sys::join_path(directory, kStagePrefix + name);
}

Status append_durably(sys::FileSystem& fs, const std::string& path, const std::string& lines) {
  MC_TRY_ASSIGN(const auto file, fs.open_append(path));
  MC_TRY(file->write(as_bytes(lines)));
  MC_TRY(file->sync_data());
  return file->close();
}

// The manifest as it was durable before, and `lines`, in a new file: of the old one's last bytes nobody knows now what
// the disk holds.
Status rewrite_manifest(sys::FileSystem& fs, const std::string& directory, std::uint64_t durable_bytes,
                        const std::string& lines) {
  const std::string path = sys::join_path(directory, wire::kManifestName);
  MC_TRY_ASSIGN(ByteBuffer bytes, sys::read_file(fs, path, kMaxManifestBytes));
  if (bytes.size() < durable_bytes) return fail(ErrorKind::damaged, "'" + path + "' has become shorter");
  bytes.resize(durable_bytes);
  append(bytes, as_bytes(lines));
  const std::string staged = stage_path(directory, wire::kManifestName);
  MC_TRY(sys::stage_file(fs, staged, bytes));
  return sys::publish_file(fs, staged, path);
}

// Is a line among the first `count` files to be put right? A file that is not what its line says is told.
bool has_wrong_line(const ManifestWriter& manifest, const wire::Manifest& listed, std::size_t count) {
  const Log& log = manifest.errors().log();
  count = std::min(count, listed.files.size());
  if (count > 0) log(LogLevel::info, "reading " + std::to_string(count) + " files once more");
  bool wrong = false;
  for (std::size_t i = 0; i < count; ++i) {
    const wire::ManifestFile& file = listed.files[i];
    const std::string path = sys::join_path(manifest.directory(), file.name);
    const auto hash = hash_file(manifest.fs(), path);
    if (hash && hash->sha256 == file.sha256) continue;
    if (hash && is_damaged_copy(file.sha256, hash->sha256)) {
      wrong = true;
    } else {
      log(LogLevel::error,
          hash ? "'" + path + "' is damaged: its SHA-256 is not the listed one" : hash.error().message);
    }
  }
  return wrong;
}

}  // namespace

Status DiskErrors::accept(const Error& error, const std::string& remedy) {
  if (error.kind != ErrorKind::io) return fail(error);
  count_.fetch_add(1, std::memory_order_relaxed);
  log_(LogLevel::warning, error.message + "; " + remedy);
  return {};
}

Status ManifestWriter::begin() {
  MC_TRY_ASSIGN(const ByteBuffer bytes,
                sys::read_file(fs_, sys::join_path(directory_, wire::kManifestName), kMaxManifestBytes));
  written_ = digest::Sha256();
  written_.update(bytes);
  return {};
}

Status ManifestWriter::append(const std::string& lines) {
  const std::string path = sys::join_path(directory_, wire::kManifestName);
  MC_TRY_ASSIGN(const auto before, fs_.info(path));
  if (const Status appended = append_durably(fs_, path, lines); !appended) {
    MC_TRY(errors_.accept(appended.error(), "the manifest is written again to a new file"));
    MC_TRY(rewrite_manifest(fs_, directory_, before.size_bytes, lines));
  }
  written_.update(as_bytes(lines));
  return {};
}

Status publish_durably(sys::FileSystem& fs, const std::string& directory, const std::string& name, ByteView bytes,
                       DiskErrors& errors) {
  const std::string staged = stage_path(directory, name);
  const std::string path = sys::join_path(directory, name);
  const auto attempt = [&]() -> Status {
    MC_TRY(sys::stage_file(fs, staged, bytes));
    return sys::publish_file(fs, staged, path);
  };
  const Status published = attempt();
  if (published) return {};
  MC_TRY(errors.accept(published.error(), "'" + name + "' is written again to a new file"));
  return attempt();
}

Status publish_chunk(ManifestWriter& manifest, const wire::ChunkLine& line, ByteView bytes, const std::string& ledger) {
  sys::FileSystem& fs = manifest.fs();
  const std::string& directory = manifest.directory();
  const std::string name = wire::chunk_name(line.number);
  const std::string path = sys::join_path(directory, name);
  const std::string sha256 = digest::sha256_hex(bytes);
  bool present = false;
  if (fs.info(path)) {
    MC_TRY_ASSIGN(const FileHash hash, hash_file(fs, path));
    present = hash.sha256 == sha256;
    if (!present) MC_TRY(set_aside(fs, directory, name, manifest.errors().log()));
  }
  if (present) {
    // Published before a crash: its bytes were synced before it got its name, but the name is perhaps not durable.
    MC_TRY_ASSIGN(const auto file, fs.open_update(path));
    MC_TRY(file->sync());
    MC_TRY(file->close());
    MC_TRY(fs.sync_directory(directory));
  } else {
    MC_TRY(publish_durably(fs, directory, name, bytes, manifest.errors()));
  }
  return manifest.append(wire::chunk_lines(line, sha256, ledger));
}

Status set_aside(sys::FileSystem& fs, const std::string& directory, const std::string& name, const Log& log) {
  const std::string path = sys::join_path(directory, name);
  MC_TRY_ASSIGN(const FileHash hash, hash_file(fs, path));
  const std::string aside = sys::join_path(directory, aside_name(name, hash.sha256));
  log(LogLevel::warning, "'" + path + "' is damaged or not what its journal says; kept as '" + aside + "'");
  MC_TRY(fs.rename(path, aside));
  return fs.sync_directory(directory);
}

std::string aside_name(const std::string& name, const std::string& sha256) {
  constexpr std::size_t kDigits = 16;
  return kAsidePrefix + name + "-" + sha256.substr(0, kDigits);
}

Status close_recording(ManifestWriter& manifest, std::uint32_t chunks, std::size_t unchecked_files) {
  sys::FileSystem& fs = manifest.fs();
  const std::string& directory = manifest.directory();
  if (chunks == 0) {
    return fail(Error{ErrorKind::damaged, "'" + directory + "' holds no frame", 0,
                      "an empty recording is not closed: look at why nothing came in"});
  }
  MC_TRY_ASSIGN(LoadedManifest loaded, load_manifest(fs, directory));
  bool wrong = is_damaged(loaded) || !manifest.is_what_was_written(loaded.bytes) ||
               has_wrong_line(manifest, loaded.manifest, unchecked_files);
  if (wrong) {
    MC_TRY(repair_manifest(fs, directory, manifest.errors()));
    MC_TRY(manifest.begin());
    MC_TRY_ASSIGN(loaded, load_manifest(fs, directory));
    wrong = has_wrong_line(manifest, loaded.manifest, SIZE_MAX);
  }
  if (wrong || is_damaged(loaded) || loaded.manifest.torn_tail || loaded.manifest.chunk_count() != chunks) {
    return fail(Error{ErrorKind::damaged, "the manifest of '" + directory + "' was changed, and is not closed", 0,
                      "run mc-spool recover, look with mc-verify, then mc-spool close"});
  }
  if (loaded.manifest.end) return {};
  return manifest.append(wire::end_line(chunks, digest::sha256_hex(loaded.bytes)));
}

}  // namespace mc::spool
