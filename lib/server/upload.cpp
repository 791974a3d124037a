#include <charconv>
#include <functional>

#include "digest/sha256.hpp"
#include "server/conditional.hpp"
#include "server/service.hpp"
#include "store/binding.hpp"
#include "wire/manifest.hpp"

namespace mc::server {
namespace {

Response taken() {
  return problem(409, "recording-taken", "another recording has this path",
                 "the path is bound to another recording id; choose another guest name");
}

Response conflict() {
  return problem(409, "conflict", "other bytes are held under this name", "both are kept; nothing was overwritten");
}

// Both digest fields say the same of a request without content coding: the SHA-256 of the body. The hexadecimal form,
// or why it cannot be had.
std::variant<std::string, Response> stated_digest(const RequestHeaders& headers) {
  if (!headers.repr_digest && !headers.content_digest) {
    return problem(400, "digest-required", "the digest is missing",
                   "Repr-Digest or Content-Digest with sha-256 (RFC 9530) is required");
  }
  std::optional<std::string> found;
  for (const auto* field : {&headers.repr_digest, &headers.content_digest}) {
    if (!*field) continue;
    const auto base64 = wire::parse_digest(**field);
    const auto raw = base64 ? digest::from_base64(*base64) : std::nullopt;
    if (!raw || raw->size() != 32) {
      return problem(400, "digest-required", "the digest is missing", "the field gives no well-formed sha-256");
    }
    std::string hex = digest::to_hex(*raw);
    if (found && *found != hex) {
      return problem(400, "digest-mismatch", "the two digest fields differ", "nothing was stored");
    }
    found = std::move(hex);
  }
  return *found;
}

// A structured field item that is a non-negative integer (RFC 9651 3.3.1).
std::optional<std::uint64_t> parse_offset(const std::optional<std::string>& field) {
  std::uint64_t value = 0;
  if (!field || field->empty() || field->size() > 15) return std::nullopt;
  const auto [end, ec] = std::from_chars(field->data(), field->data() + field->size(), value);
  if (ec != std::errc{} || end != field->data() + field->size()) return std::nullopt;
  return value;
}

bool starts_with(ByteView bytes, ByteView prefix) { return as_text(bytes).starts_with(as_text(prefix)); }

}  // namespace

std::mutex& Service::manifest_lock(const wire::RecordingPath& path) {
  return manifest_mutexes_[std::hash<std::string>{}(path.text()) % manifest_mutexes_.size()];
}

// HEAD: how far the upload of these very bytes got ("Offset Retrieval", section 4.3 of the draft).
std::optional<Response> Service::upload_offset(const FileRoute& route, const Request& request) {
  if (!waits_for_upload(request)) return std::nullopt;
  const auto stated = stated_digest(request.headers);
  const auto* sha256 = std::get_if<std::string>(&stated);
  if (sha256 == nullptr) return std::nullopt;
  const auto offset = partial_.offset({route.path.text(), route.name, *request.headers.recording, *sha256});
  if (!offset) return std::nullopt;
  Response response;
  response.status = 204;
  response.headers = {{wire::kUploadOffsetHeader, std::to_string(*offset)},
                      {wire::kUploadCompleteHeader, "?0"},
                      {wire::kUploadLimitHeader, "max-size=" + std::to_string(kMaxFileBytes)},
                      {"Cache-Control", "no-store"}};
  return response;
}

// PATCH: the upload goes on from where it was parked ("Upload Append", section 4.4). A refusal, or nothing.
std::optional<Response> Service::resume(const Request& request, Upload& upload) {
  const RequestHeaders& headers = request.headers;
  if (headers.content_type != wire::kPartialUploadType) {
    return problem(415, "partial-upload-type", "this is not the rest of an upload",
                   std::string("the content type must be ") + wire::kPartialUploadType);
  }
  const auto offset = parse_offset(headers.upload_offset);
  if (!offset || headers.upload_complete != "?1") {
    return problem(400, "partial-upload", "this is not the rest of an upload",
                   "Upload-Offset with a number and Upload-Complete: ?1 are required");
  }
  upload.is_rest_ = true;
  upload.staged_ = partial_.take(upload.key_, *offset);
  if (upload.staged_) return std::nullopt;
  Response refused = problem(409, "mismatching-upload-offset", "the upload is not at this offset",
                             "HEAD with the same digest says where it is, if anything of it is left");
  refused.headers.emplace_back(wire::kUploadOffsetHeader,
                               std::to_string(partial_.parked_bytes(upload.key_).value_or(0)));
  refused.headers.emplace_back(wire::kUploadCompleteHeader, "?0");
  return refused;
}

std::variant<Response, std::unique_ptr<Upload>> Service::begin_upload(const Request& request,
                                                                      PartialUploads::Interrupt interrupt) {
  const Route route = parse_route(request.target);
  const auto* file = std::get_if<FileRoute>(&route);
  if (file == nullptr) return handle(request);  // says what is wrong with it
  if (auto refused = refuse_bearer(request, route)) return std::move(*refused);
  if (file->kind == wire::FileKind::receipt) return refuse_method(route);

  const RequestHeaders& headers = request.headers;
  if (!headers.recording || !wire::is_recording_id(*headers.recording)) {
    return problem(400, "recording-required", "the recording id is missing",
                   std::string(wire::kRecordingHeader) + " with the recording's id is required");
  }
  if (headers.content_encoding && *headers.content_encoding != "identity") {
    return problem(415, "content-coding", "content codings are not understood here");
  }
  if (headers.content_range) {
    return problem(400, "partial-put", "a part of a file cannot be put",
                   "Content-Range is not allowed (RFC 9110 14.5)");
  }
  auto stated = stated_digest(headers);
  if (auto* refused = std::get_if<Response>(&stated)) return std::move(*refused);

  const std::string doing = "cannot take '" + file->path.text() + "/" + file->name + "'";
  const auto bound = store::binding(store_, file->path);
  if (!bound) return failed(bound.error(), doing);
  if (*bound && **bound != *headers.recording) return taken();
  std::unique_ptr<Upload> upload(
      new Upload(*this, *file, *headers.recording, std::get<std::string>(std::move(stated))));
  if (request.method == "PATCH") {
    if (auto refused = resume(request, *upload)) return std::move(*refused);
  } else {
    auto staged = store_.stage(file->path, file->name);
    if (!staged) return failed(staged.error(), doing);
    upload->staged_ = std::move(*staged);
  }
  partial_.begin(upload->key_, upload.get(), std::move(interrupt));
  return upload;
}

void Upload::park(ByteView rest) {
  if (!staged_) return;
  // The offset is announced from the stage's size, so the flush comes before anybody can see it.
  if (write(rest) || !staged_->sync() || staged_->size_bytes() == 0) return staged_.reset();
  ++service_.metrics_.uploads_parked;
  service_.partial_.park(key_, this, std::move(staged_));
}

std::optional<Response> Upload::write(ByteView bytes) {
  if (bytes.size() > kMaxFileBytes - staged_->size_bytes()) {
    staged_.reset();
    return problem(413, "too-large", "the file is too large", "at most " + std::to_string(kMaxFileBytes) + " bytes");
  }
  const Status status = staged_->write(bytes);
  if (status) return std::nullopt;
  staged_.reset();  // gives the room back before the answer goes out
  return service_.failed(status.error(), "cannot take '" + route_.path.text() + "/" + route_.name + "'");
}

Response Upload::finish() {
  Response response = store();
  // Whatever it says, it is about the whole file (section 4.4).
  if (is_rest_) response.headers.emplace_back(wire::kUploadCompleteHeader, "?1");
  return response;
}

Response Upload::store() {
  if (staged_->sha256() != sha256_) {
    staged_.reset();
    return problem(400, "digest-mismatch", "the body is not what its digest says", "nothing was stored");
  }
  auto response = route_.kind == wire::FileKind::manifest ? service_.store_manifest(*this) : service_.store_file(*this);
  staged_.reset();
  if (response) return std::move(*response);
  return service_.failed(response.error(), "cannot store '" + route_.path.text() + "/" + route_.name + "'");
}

void Service::note(const char* event, const Upload& upload) {
  if (policy_.control_log == nullptr) return;
  policy_.control_log->add(event, {{"path", upload.route_.path.text()},
                                   {"name", upload.route_.name},
                                   {"recording", upload.recording_id_},
                                   {"sha256", upload.sha256_}});
}

Result<Response> Service::store_file(Upload& upload) {
  const FileRoute& route = upload.route_;
  MC_TRY_ASSIGN(const std::string bound, store::bind(store_, route.path, upload.recording_id_));
  if (bound != upload.recording_id_) return taken();

  const auto stored = [&](int status) {
    index_.published(route.path, route.name);
    // The first that comes of a recording; whoever looks on wants to see it.
    if (route.kind == wire::FileKind::init) sessions_.recording_changed(route.path);
    if (status == 201) ++metrics_.files_stored;
    Response response;
    response.status = status;
    response.headers.emplace_back("ETag", entity_tag(upload.sha256_));
    return response;
  };

  // Bytes that rotted in the store are replaced, and kept aside: the manifest, whose lines are under checksums and
  // (once closed) under the root, says which bytes are the right ones. Without it the first ones stand.
  if (const auto held = store_.open(route.path, route.name)) {
    const auto held_sha256 = index_.sha256_of(route.path, **held);
    if (!held_sha256 || *held_sha256 != upload.sha256_) {
      const auto manifest_object = store_.open(route.path, wire::kManifestName);
      if (manifest_object) {
        MC_TRY_ASSIGN(const ByteBuffer bytes, store::read_object(**manifest_object, kMaxFileBytes));
        const wire::Manifest manifest = wire::parse_manifest(bytes);
        const wire::ManifestFile* listed = manifest.find(route.name);
        if (listed != nullptr && listed->sha256 == upload.sha256_ &&
            !check_manifest(bytes, manifest, upload.recording_id_)) {
          log_(LogLevel::warning,
               "'" + route.path.text() + "/" + route.name + "' was damaged; replaced and kept aside");
          MC_TRY_ASSIGN(const bool replaced,
                        upload.staged_->publish_over((*held)->info(), store::Displaced::quarantine));
          if (replaced) {
            note("damaged-replaced", upload);
            return stored(201);
          }
          return fail(ErrorKind::unavailable, "the file changed while it was replaced");
        }
      }
    }
  }

  MC_TRY_ASSIGN(const auto outcome, upload.staged_->publish(store::OnConflict::quarantine));
  if (outcome == store::PutOutcome::conflict) {
    note("conflict", upload);
    return conflict();
  }
  return stored(outcome == store::PutOutcome::created ? 201 : 200);
}

Result<Response> Service::store_manifest(Upload& upload) {
  const FileRoute& route = upload.route_;
  MC_TRY_ASSIGN(const ByteBuffer bytes, upload.staged_->read_back(kMaxFileBytes));
  const wire::Manifest manifest = wire::parse_manifest(bytes);
  if (const auto objection = check_manifest(bytes, manifest, upload.recording_id_)) {
    return problem(400, objection.type, "this is not a manifest that can be stored", objection.detail);
  }
  MC_TRY_ASSIGN(const std::string bound, store::bind(store_, route.path, upload.recording_id_));
  if (bound != upload.recording_id_) return taken();

  {
    const std::lock_guard lock(manifest_lock(route.path));
    const auto held = store_.open(route.path, route.name);
    if (!held && held.error().kind != ErrorKind::not_found) return fail(held.error());
    bool replaces = false;
    auto displaced = store::Displaced::drop;
    if (held) {
      MC_TRY_ASSIGN(const ByteBuffer before, store::read_object(**held, kMaxFileBytes));
      const wire::Manifest old = wire::parse_manifest(before);
      if (before.size() < bytes.size() && !old.end && starts_with(bytes, before)) {
        replaces = true;
      } else if (before != bytes && check_manifest(before, old, upload.recording_id_)) {
        replaces = true;  // what is held has rotted
        displaced = store::Displaced::quarantine;
      }
    }
    if (replaces) {
      MC_TRY_ASSIGN(const bool replaced, upload.staged_->publish_over((*held)->info(), displaced));
      if (!replaced) return fail(ErrorKind::unavailable, "the manifest changed while it was replaced");
      if (displaced == store::Displaced::quarantine) note("damaged-replaced", upload);
    } else {
      MC_TRY_ASSIGN(const auto outcome, upload.staged_->publish(store::OnConflict::quarantine));
      if (outcome == store::PutOutcome::conflict) {
        note("conflict", upload);
        return conflict();
      }
    }
  }
  MC_TRY_ASSIGN(const wire::AuditAnswer answer, auditor_.audit(route.path, bytes, manifest, route.depth));
  if (answer.synced) sessions_.recording_changed(route.path);
  Response response = text_response(200, "application/json", wire::format_audit_answer(answer) + "\n");
  response.headers.emplace_back("ETag", entity_tag(upload.sha256_));
  return response;
}

}  // namespace mc::server
