#include "wire/manifest.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <set>

#include "base/clock.hpp"
#include "base/crc32c.hpp"

namespace mc::wire {
namespace {

constexpr std::string_view kCrc = " crc=";
constexpr std::size_t kCrcDigits = 8;
constexpr std::size_t kMaxLineBytes = 64 * 1024;
constexpr std::size_t kHashDigits = 64;
constexpr std::string_view kHashGap = "  ";  // between a hash and its name, as sha256sum writes it

std::string crc_text(std::string_view line) {
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", crc32c(as_bytes(line)));
  return {text.data(), kCrcDigits};
}

std::string with_crc(std::string line) {
  line += std::string(kCrc) + crc_text(line) + "\n";
  return line;
}

// Only what would end a word, a value or a line; other UTF-8 stays readable.
std::string encode_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<std::uint8_t>(c) <= 0x20 || c == 0x7F || c == '%' || c == '=') {
      out += percent_encode({&c, 1});
      // percent_encode leaves no control character, blank, '%' or '=' as it is
    } else {
      out += c;
    }
  }
  return out;
}

std::string time_text(const MediaTime& time) {
  return std::to_string(time.ticks) + "/" + std::to_string(time.timescale);
}

template <class T>
bool to_number(std::string_view text, T& value) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc{} && end == text.data() + text.size();
}

bool to_time(std::string_view text, MediaTime& time) {
  const auto slash = text.find('/');
  return slash != std::string_view::npos && to_number(text.substr(0, slash), time.ticks) &&
         to_number(text.substr(slash + 1), time.timescale) && time.timescale > 0;
}

// The words of a `#` line after its keyword: `key=value` or a bare word (empty key).
using Words = std::vector<std::pair<std::string_view, std::string_view>>;

Words split_words(std::string_view text) {
  Words words;
  while (!text.empty()) {
    const auto blank = text.find(' ');
    const std::string_view word = text.substr(0, blank);
    text = blank == std::string_view::npos ? std::string_view{} : text.substr(blank + 1);
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) {
      words.emplace_back(std::string_view{}, word);
    } else {
      words.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
  }
  return words;
}

std::string_view value_of(const Words& words, std::string_view key) {
  const auto found = std::ranges::find(words, key, &Words::value_type::first);
  return found == words.end() ? std::string_view{} : found->second;
}

std::string tracks_text(const std::vector<TrackSummary>& tracks) {
  std::string text;
  for (const TrackSummary& track : tracks) {
    if (!text.empty()) text += ',';
    text += std::to_string(track.id) + ":" + track.kind + ":" + std::to_string(track.timescale) + ":" +
            std::to_string(track.nominal_duration) + ":" + encode_value(track.codec);
  }
  return text;
}

bool to_tracks(std::string_view text, std::vector<TrackSummary>& tracks) {
  while (!text.empty()) {
    const auto comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    std::array<std::string_view, 5> parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto colon = i + 1 < parts.size() ? item.find(':') : std::string_view::npos;
      if (i + 1 < parts.size() && colon == std::string_view::npos) return false;
      parts[i] = item.substr(0, colon);
      if (colon != std::string_view::npos) item = item.substr(colon + 1);
    }
    TrackSummary track;
    const auto codec = percent_decode(parts[4]);
    if (!to_number(parts[0], track.id) || !to_number(parts[2], track.timescale) || track.timescale == 0 ||
        !to_number(parts[3], track.nominal_duration) || !codec) {
      return false;
    }
    track.kind = parts[1];
    track.codec = *codec;
    tracks.push_back(std::move(track));
  }
  return !tracks.empty();
}

}  // namespace

class ManifestReader::Parser {
 public:
  void read(ByteView more) {
    const std::string_view text = as_text(more);
    // Back to the last point at which nothing was pending.
    drop_pending();
    m_.damage.resize(intact_damage_);
    line_number_ = intact_lines_;
    m_.torn_tail = false;
    const std::uint64_t begin = m_.intact_bytes;
    for (std::size_t at = 0; at < text.size();) {
      const auto newline = text.find('\n', at);
      ++line_number_;
      if (newline == std::string_view::npos) {
        m_.torn_tail = true;
        break;
      }
      line_start_ = begin + at;
      take_line(text.substr(at, newline - at));
      at = newline + 1;
      // A chunk or init line waits for its hash line: until that is there, neither counts.
      if (pending()) continue;
      m_.intact_bytes = begin + at;
      intact_damage_ = m_.damage.size();
      intact_lines_ = line_number_;
    }
    if (pending()) m_.torn_tail = true;
    if (m_.version == 0 && !header_is_missing_ && (!m_.files.empty() || m_.end || !m_.recording_id.empty())) {
      header_is_missing_ = true;
      m_.damage.insert(m_.damage.begin(), {1, "the header line is missing"});
      ++intact_damage_;
    }
  }
  Manifest& manifest() { return m_; }

 private:
  void damage(std::string what) { m_.damage.push_back({line_number_, std::move(what)}); }

  void take_line(std::string_view line) {
    if (m_.end) return damage("text after the end line");
    if (!line.starts_with("# ")) {
      if (line.starts_with("#")) return damage("not a line of a manifest");
      return take_hash_line(line);
    }
    if (line.size() < kCrc.size() + kCrcDigits + 2) return damage("no crc");
    const std::size_t crc_at = line.size() - kCrc.size() - kCrcDigits;
    if (line.substr(crc_at, kCrc.size()) != kCrc) return damage("no crc");
    if (crc_text(line.substr(0, crc_at)) != line.substr(crc_at + kCrc.size())) return damage("crc does not match");
    const std::string_view body = line.substr(2, crc_at - 2);
    const auto blank = body.find(' ');
    const std::string_view keyword = body.substr(0, blank);
    const Words words = split_words(blank == std::string_view::npos ? std::string_view{} : body.substr(blank + 1));
    if (!take_keyword(keyword, words)) damage("malformed '" + std::string(keyword) + "' line");
  }

  bool take_keyword(std::string_view keyword, const Words& words) {
    const bool ledger = keyword != "maycast-manifest" && keyword != "recording" && keyword != "t0" &&
                        keyword != "init" && keyword != "chunk" && keyword != "end";
    if (pending() && !ledger) {
      damage("a description without its hash line");
      drop_pending();
    }
    if (keyword == "maycast-manifest") {
      if (m_.version != 0 || words.size() != 1 || !to_number(words[0].second, m_.version)) return false;
      return m_.version == kManifestVersion;
    }
    if (keyword == "recording") return take_recording(words);
    if (keyword == "t0") return take_t0(words);
    if (keyword == "init") return take_init(words);
    if (keyword == "chunk") return take_chunk(words);
    if (keyword == "gap") return take_gap(words);
    if (keyword == "end") return take_end(words);
    return take_note(keyword, words);
  }

  bool take_recording(const Words& words) {
    if (!m_.recording_id.empty() || words.size() != 2 || !is_recording_id(words[0].second)) return false;
    const auto path_text = percent_decode(words[1].second);
    if (!path_text) return false;
    auto path = parse_recording_path(*path_text);
    if (!path) return false;
    m_.recording_id = words[0].second;
    m_.path = std::move(*path);
    return true;
  }

  bool take_t0(const Words& words) {
    if (m_.t0_wall_ns || words.empty()) return false;
    const auto wall = parse_utc(words[0].second);
    if (!wall) return false;
    const std::string_view bound = value_of(words, "bound-us");
    if (!bound.empty() && !to_number(bound, m_.bound_us)) return false;
    m_.t0_wall_ns = *wall;
    return true;
  }

  bool take_init(const Words& words) {
    InitLine init;
    if (words.empty() || !to_number(words[0].second, init.number.value) ||
        !to_number(value_of(words, "bytes"), init.bytes) || !to_tracks(value_of(words, "tracks"), init.tracks)) {
      return false;
    }
    pending_init_ = std::move(init);
    return true;
  }

  bool take_chunk(const Words& words) {
    ChunkLine chunk;
    if (words.empty() || !to_number(words[0].second, chunk.number.value) ||
        !to_number(value_of(words, "bytes"), chunk.bytes) || !to_time(value_of(words, "t"), chunk.start) ||
        !to_time(value_of(words, "dur"), chunk.duration) || !to_number(value_of(words, "video"), chunk.video) ||
        !to_number(value_of(words, "audio"), chunk.audio) || !to_number(value_of(words, "init"), chunk.init.value)) {
      return false;
    }
    pending_chunk_ = chunk;
    return true;
  }

  bool take_gap(const Words& words) {
    GapLine gap;
    const auto reason = percent_decode(value_of(words, "reason"));
    if (!to_number(value_of(words, "track"), gap.track) || !to_time(value_of(words, "from"), gap.from) ||
        !to_time(value_of(words, "to"), gap.to) || !reason || reason->empty()) {
      return false;
    }
    gap.reason = *reason;
    (pending() ? pending_gaps_ : m_.gaps).push_back(std::move(gap));
    return true;
  }

  bool take_end(const Words& words) {
    Manifest::End end;
    end.root = value_of(words, "root");
    end.end_offset = line_start_;
    if (!to_number(value_of(words, "chunks"), end.chunks) || !is_sha256_hex(end.root)) return false;
    if (end.chunks != chunks_)
      damage("the end line counts " + std::to_string(end.chunks) + " chunks, not " + std::to_string(chunks_));
    m_.end = std::move(end);
    return true;
  }

  bool take_note(std::string_view keyword, const Words& words) {
    NoteLine note{std::string(keyword), {}};
    for (const auto& [key, value] : words) {
      const auto decoded_key = percent_decode(key);
      const auto decoded = percent_decode(value);
      if (!decoded_key || !decoded) return false;
      note.values.emplace_back(*decoded_key, *decoded);
    }
    (pending() ? pending_notes_ : m_.notes).push_back(std::move(note));
    return true;
  }

  bool pending() const { return pending_init_.has_value() || pending_chunk_.has_value(); }

  void drop_pending() {
    pending_init_.reset();
    pending_chunk_.reset();
    pending_gaps_.clear();
    pending_notes_.clear();
  }

  void take_hash_line(std::string_view line) {
    const auto init = pending_init_;
    const auto chunk = pending_chunk_;
    m_.gaps.insert(m_.gaps.end(), pending_gaps_.begin(), pending_gaps_.end());
    m_.notes.insert(m_.notes.end(), pending_notes_.begin(), pending_notes_.end());
    drop_pending();
    if (line.size() <= kHashDigits + kHashGap.size() || !is_sha256_hex(line.substr(0, kHashDigits)) ||
        line.substr(kHashDigits, kHashGap.size()) != kHashGap) {
      return damage("not a line of a manifest");
    }
    const std::string name(line.substr(kHashDigits + kHashGap.size()));
    const auto parsed = parse_file_name(name);
    if (!parsed || (parsed->kind != FileKind::init && parsed->kind != FileKind::chunk)) {
      return damage("not the name of a chunk or an init: '" + name + "'");
    }
    if (!names_.insert(name).second) return damage("'" + name + "' stands twice");
    if (parsed->kind == FileKind::init) {
      if (!init || init->number.value != parsed->number) return damage("'" + name + "' has no description of its own");
      if (parsed->number != ++inits_) damage("'" + name + "' is out of order");
      inits_ = parsed->number;
    } else {
      if (!chunk || chunk->number.value != parsed->number)
        return damage("'" + name + "' has no description of its own");
      if (parsed->number != ++chunks_) damage("'" + name + "' is out of order");
      chunks_ = parsed->number;
      if (chunk->init.value == 0 || chunk->init.value > inits_)
        damage("'" + name + "' needs an init that is not there");
    }
    m_.files.push_back({name, std::string(line.substr(0, kHashDigits)), init, chunk});
  }

  Manifest m_;
  std::size_t line_number_ = 0;
  std::uint64_t line_start_ = 0;
  std::size_t intact_lines_ = 0;
  std::size_t intact_damage_ = 0;
  bool header_is_missing_ = false;
  std::uint32_t inits_ = 0;
  std::uint32_t chunks_ = 0;
  std::optional<InitLine> pending_init_;
  std::optional<ChunkLine> pending_chunk_;
  std::vector<GapLine> pending_gaps_;  // between a description and the hash line that commits it
  std::vector<NoteLine> pending_notes_;
  std::set<std::string, std::less<>> names_;
};

namespace {

std::string hash_line(const std::string& sha256, const std::string& name) { return sha256 + "  " + name + "\n"; }

}  // namespace

ManifestReader::ManifestReader() : parser_(std::make_unique<Parser>()) {}
ManifestReader::ManifestReader(ManifestReader&&) noexcept = default;
ManifestReader& ManifestReader::operator=(ManifestReader&&) noexcept = default;
ManifestReader::~ManifestReader() = default;
void ManifestReader::read(ByteView more) { parser_->read(more); }
const Manifest& ManifestReader::manifest() const { return parser_->manifest(); }
Manifest ManifestReader::take() && { return std::move(parser_->manifest()); }

const ManifestFile* Manifest::find(std::string_view name) const {
  const auto found = std::ranges::find(files, name, &ManifestFile::name);
  return found == files.end() ? nullptr : &*found;
}

std::uint32_t Manifest::chunk_count() const {
  return static_cast<std::uint32_t>(
      std::ranges::count_if(files, [](const ManifestFile& file) { return file.chunk.has_value(); }));
}

Manifest parse_manifest(ByteView bytes) {
  ManifestReader reader;
  reader.read(bytes);
  return std::move(reader).take();
}

std::size_t whole_line_length(std::string_view text) {
  if (text.starts_with("# ")) {
    const std::string_view window = text.substr(0, kMaxLineBytes);
    for (auto at = window.find(kCrc); at != std::string_view::npos; at = window.find(kCrc, at + 1)) {
      const std::size_t end = at + kCrc.size() + kCrcDigits;
      if (end > text.size()) return 0;
      if (crc_text(text.substr(0, at)) == text.substr(end - kCrcDigits, kCrcDigits)) return end;
    }
    return 0;
  }
  const std::size_t name_at = kHashDigits + kHashGap.size();
  if (text.size() <= name_at || !is_sha256_hex(text.substr(0, kHashDigits)) ||
      text.substr(kHashDigits, kHashGap.size()) != kHashGap) {
    return 0;
  }
  const auto dot = text.find('.', name_at);
  constexpr std::size_t kSuffixBytes = 4;  // .m4s, .mp4
  if (dot == std::string_view::npos || dot + kSuffixBytes > text.size()) return 0;
  const auto name = parse_file_name(text.substr(name_at, dot + kSuffixBytes - name_at));
  return name && (name->kind == FileKind::chunk || name->kind == FileKind::init) ? dot + kSuffixBytes : 0;
}

bool has_damaged_newline(std::string_view text) {
  const std::string_view tail = text.substr(text.rfind('\n') + 1);  // all of it when there is none
  const std::size_t whole = whole_line_length(tail);
  return whole > 0 && tail.substr(whole).find_first_not_of('\0') != std::string_view::npos;
}

std::optional<std::string> mend_line(std::string_view line) {
  const std::size_t tail_bytes = kCrc.size() + kCrcDigits;
  if (line.size() <= tail_bytes || line.size() > kMaxMendedBytes || whole_line_length(line) == line.size()) {
    return std::nullopt;
  }
  std::string mended(line);
  const std::size_t crc_at = line.size() - tail_bytes;
  const std::string tail = std::string(kCrc) + crc_text(line.substr(0, crc_at));
  const auto differs = [&](std::size_t i) { return tail[i] != line[crc_at + i]; };
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < tail_bytes; ++i) wrong += differs(i) ? 1U : 0U;
  if (wrong == 1) return mended.replace(crc_at, tail_bytes, tail);
  if (line.substr(crc_at, kCrc.size()) != kCrc) return std::nullopt;
  std::uint32_t want = 0;
  const std::string_view digits = line.substr(crc_at + kCrc.size());
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), want, 16);
  if (ec != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  const ByteView body = as_bytes(line.substr(0, crc_at));
  for (std::size_t i = 0; i < crc_at; ++i) {
    const std::uint32_t before = crc32c(body.first(i));
    for (unsigned value = 1; value <= 0xFF; ++value) {
      const auto byte = static_cast<std::uint8_t>(value);
      if (value == '\n' || crc32c(body.subspan(i + 1), crc32c({&byte, 1}, before)) != want) continue;
      mended[i] = static_cast<char>(byte);
      return mended;
    }
  }
  return std::nullopt;
}

std::string header_line() { return with_crc("# maycast-manifest " + std::to_string(kManifestVersion)); }

std::string recording_line(const std::string& recording_id, const RecordingPath& path) {
  return with_crc("# recording " + recording_id + " " + encode_value(path.text()));
}

std::string t0_line(std::int64_t wall_ns, std::int64_t bound_us) {
  std::string line = "# t0 " + format_utc(wall_ns);
  if (bound_us >= 0) line += " bound-us=" + std::to_string(bound_us);
  return with_crc(std::move(line));
}

std::string init_lines(const InitLine& init, const std::string& sha256) {
  return with_crc("# init " + std::to_string(init.number.value) + " bytes=" + std::to_string(init.bytes) +
                  " tracks=" + tracks_text(init.tracks)) +
         hash_line(sha256, init_name(init.number));
}

std::string chunk_lines(const ChunkLine& chunk, const std::string& sha256, const std::string& ledger) {
  return with_crc("# chunk " + std::to_string(chunk.number.value) + " bytes=" + std::to_string(chunk.bytes) +
                  " t=" + time_text(chunk.start) + " dur=" + time_text(chunk.duration) +
                  " video=" + std::to_string(chunk.video) + " audio=" + std::to_string(chunk.audio) +
                  " init=" + std::to_string(chunk.init.value)) +
         ledger + hash_line(sha256, chunk_name(chunk.number));
}

std::string gap_line(const GapLine& gap) {
  return with_crc("# gap track=" + std::to_string(gap.track) + " from=" + time_text(gap.from) +
                  " to=" + time_text(gap.to) + " reason=" + encode_value(gap.reason));
}

std::optional<std::string> NoteLine::value(std::string_view key) const {
  for (const auto& [name, text] : values) {
    if (name == key) return text;
  }
  return std::nullopt;
}

std::optional<MediaTime> NoteLine::time() const {
  MediaTime time;
  const auto text = value("t");
  if (!text || !to_time(*text, time)) return std::nullopt;
  return time;
}

std::string note_line(const NoteLine& note) {
  std::string line = "# " + encode_value(note.keyword);
  for (const auto& [key, value] : note.values) {
    line += ' ';
    if (!key.empty()) line += encode_value(key) + "=";
    line += encode_value(value);
  }
  return with_crc(std::move(line));
}

std::string end_line(std::uint32_t chunks, const std::string& root) {
  return with_crc("# end chunks=" + std::to_string(chunks) + " root=" + root);
}

}  // namespace mc::wire
