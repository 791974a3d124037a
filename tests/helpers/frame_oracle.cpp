// The judge of every crash test on the real kernel: is each acknowledged frame in the recording, with the right bytes?
//
//   frame_oracle [--recover] [--entered-bytes N | --entered-all] [--max-lost N] DIR IN.fmp4 EVENTS [IN.fmp4 EVENTS]...
//
// IN.fmp4 is what `mc-spool write DIR --events …` was fed with, EVENTS the lines that came out of the events descriptor
// before the cut (a torn last line does not count, - stands for none). A pair for each run of mc-spool that wrote into
// DIR, in order. The i-th acknowledgement of a track is about the i-th frame of that track which can be kept (a picture
// from its first key frame on), so the times need not be known beforehand.
//
// Checked, for each run: the frame of every acknowledgement is in a chunk that the manifest lists, at the acknowledged
// decode time, with the bytes, the flag and the composition offset of the input. What stands there beyond the last
// acknowledgement is the input's next frames, whole, and nothing else stands there. All frames of a run are moved by
// the same time.
//
// --recover        runs `mc-spool recover DIR` first, then again: the second time changes no name and no byte; then
//                  `mc-verify DIR` must be content. Without it the caller has done so. Where nothing was acknowledged,
//                  there may be no recording at all.
// --entered-bytes  that many bytes of the last IN.fmp4 were read by mc-spool before it died: its whole frames in them
//                  "had entered". --entered-all: all of it.
// --max-lost N     fail when more than N of the frames that had entered are not there.
//
// Prints one line of numbers (acked, found, entered, lost, skipped: holes beyond the acknowledgements) and exits 0, or
// says what is wrong and exits 1. Exits 64 on bad use. Some milliseconds a call, most of them in the programs it
// starts.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/recording.hpp"

extern char** environ;

namespace {

using namespace mc;

struct Frame {
  mp4::Sample sample;
  ByteBuffer data;
};
using Frames = std::map<std::uint32_t, std::vector<Frame>>;                // by track, in decode order
using Acknowledged = std::map<std::uint32_t, std::vector<std::uint64_t>>;  // by track, decode times in order

struct Run {
  Frames frames;
  Acknowledged acknowledged;
};

int wrong = 0;
template <class... Parts>
void complain(const char* format, Parts... parts) {
  if (++wrong > 20) return;
  std::printf("frame_oracle: ");
  std::printf(format, parts...);
  std::printf("\n");
}

[[noreturn]] void die(const std::string& why) {
  std::printf("frame_oracle: %s\n", why.c_str());
  std::exit(1);
}

ByteBuffer slurp(const std::string& path) {
  auto bytes = sys::read_file(sys::real_file_system(), path, std::uint64_t{1} << 32);
  if (!bytes) die(bytes.error().message);
  return std::move(*bytes);
}

// Every frame that `bytes` hold whole.
void read_frames(ByteView init, ByteView bytes, const std::string& name, Frames& into) {
  mp4::StreamParser parser;
  parser.push(init);
  parser.push(bytes);
  for (;;) {
    auto item = parser.next();
    if (!item) return complain("'%s': %s", name.c_str(), item.error().message.c_str());
    if (!*item) return;
    if (auto* found = std::get_if<mp4::SampleItem>(&**item)) {
      into[found->sample.track_id].push_back({found->sample, std::move(found->data)});
    }
  }
}

// The frames of an input that mc-spool can keep: nothing decodes a picture before the first key frame.
Frames keepable(ByteView input, const std::string& name) {
  Frames all;
  read_frames({}, input, name, all);
  for (auto& [track, frames] : all) {
    const auto first = std::ranges::find_if(frames, [](const Frame& frame) { return frame.sample.sync; });
    frames.erase(frames.begin(), first);
  }
  return all;
}

std::uint64_t count(const Frames& frames) {
  std::uint64_t n = 0;
  for (const auto& [track, list] : frames) n += list.size();
  return n;
}

Acknowledged read_events(const std::string& path) {
  Acknowledged acknowledged;
  if (path == "-") return acknowledged;
  const ByteBuffer bytes = slurp(path);
  std::string_view text = as_text(bytes);
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const std::string line(text.substr(0, end));
    text.remove_prefix(end + 1);
    const auto object = json::parse_object(line);
    if (!object) die("'" + path + "' has a line that is not JSON: " + line);
    const auto event = json::get_string(*object, "event");
    if (event == "lost") die("'" + path + "' lacks acknowledgements: its reader was too slow");
    if (event != "durable") continue;
    const auto track = json::get_int(*object, "track");
    const auto dts = json::get_int(*object, "dts");
    if (!track || !dts) die("an acknowledgement without track or dts: " + line);
    acknowledged[static_cast<std::uint32_t>(*track)].push_back(static_cast<std::uint64_t>(*dts));
  }
  return acknowledged;
}

// What the manifest lists, frame by frame.
Frames read_recording(const std::string& directory) {
  Frames frames;
  auto loaded = spool::load_manifest(sys::real_file_system(), directory);
  if (!loaded) {
    if (loaded.error().kind == ErrorKind::not_found) return frames;
    die(loaded.error().message);
  }
  for (const auto& damage : loaded->manifest.damage) complain("manifest: %s", damage.what.c_str());
  std::map<std::uint32_t, ByteBuffer> inits;
  for (const auto& file : loaded->manifest.files) {
    const std::string path = sys::join_path(directory, file.name);
    const ByteBuffer bytes = slurp(path);
    if (digest::sha256_hex(bytes) != file.sha256) complain("'%s' has another hash", path.c_str());
    if (file.init) inits[file.init->number.value] = bytes;
    if (file.chunk) read_frames(inits[file.chunk->init.value], bytes, path, frames);
  }
  return frames;
}

bool same(const Frame& a, const Frame& b) {
  return a.sample.sync == b.sample.sync && a.sample.composition_offset == b.sample.composition_offset &&
         a.data == b.data;
}

struct Tally {
  std::uint64_t found = 0, skipped = 0;
};

// Walks `found` of one track on from `at` as far as it is what `input` gives, in order.
Tally match_track(std::uint32_t track, const std::vector<Frame>& input, const std::vector<std::uint64_t>& acknowledged,
                  const std::vector<Frame>& found, std::size_t& at) {
  Tally tally;
  if (acknowledged.size() > input.size()) {
    complain("track %u: %zu acknowledgements for %zu frames", track, acknowledged.size(), input.size());
  }
  std::int64_t moved = 0;
  std::size_t next = 0;  // of input
  for (; at < found.size() && next < input.size(); ++at) {
    std::size_t i = next;
    while (i < input.size() && !same(input[i], found[at])) ++i;
    if (i == input.size()) break;  // perhaps of the run behind
    if (i > next && next < acknowledged.size()) {
      complain("track %u: acknowledged frame %zu of the input (decode time %llu) is missing", track, next,
               static_cast<unsigned long long>(acknowledged[next]));
    }
    tally.skipped += i - next;
    const auto here = static_cast<std::int64_t>(found[at].sample.decode_time);
    if (i < acknowledged.size() && acknowledged[i] != found[at].sample.decode_time) {
      complain("track %u: frame %zu was acknowledged at %llu and stands at %lld", track, i,
               static_cast<unsigned long long>(acknowledged[i]), static_cast<long long>(here));
    }
    const std::int64_t by = here - static_cast<std::int64_t>(input[i].sample.decode_time);
    if (tally.found > 0 && by != moved) {
      complain("track %u: frame %zu is moved by %lld, the one before by %lld", track, i, static_cast<long long>(by),
               static_cast<long long>(moved));
    }
    moved = by;
    ++tally.found;
    next = i + 1;
  }
  if (next < acknowledged.size()) {
    complain("track %u: %zu frames were acknowledged, %zu are there", track, acknowledged.size(), next);
  }
  return tally;
}

struct Ended {
  int code = 0;
  std::string words;
};

Ended run_program(std::vector<std::string> words) {
  const int output = ::memfd_create("output", MFD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, output, 2);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  if (const int error = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ); error != 0) {
    die("cannot start '" + words[0] + "': " + std::strerror(error));
  }
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  Ended ended{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), {}};
  ended.words.resize(4096);
  const ssize_t n = ::pread(output, ended.words.data(), ended.words.size(), 0);
  ended.words.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  ::close(output);
  return ended;
}

// Every name with the hash of its bytes.
std::map<std::string, std::string> tree(const std::string& directory) {
  std::map<std::string, std::string> names;
  auto entries = sys::real_file_system().list(directory);
  if (!entries) return names;
  for (const auto& entry : *entries) {
    const bool file = entry.type == sys::FileType::file;
    names[entry.name] = file ? digest::sha256_hex(slurp(sys::join_path(directory, entry.name))) : "not a file";
  }
  return names;
}

// False: there is no recording, which is for the caller to judge.
bool recover(const std::string& directory) {
  const Ended first = run_program({"mc-spool", "--quiet", "recover", directory});
  if (first.code == 66) return false;
  if (first.code != 0) complain("mc-spool recover: exit %d: %s", first.code, first.words.c_str());
  const auto once = tree(directory);
  const Ended second = run_program({"mc-spool", "--quiet", "recover", directory});
  if (second.code != 0) complain("mc-spool recover, again: exit %d: %s", second.code, second.words.c_str());
  if (tree(directory) != once) complain("recovering '%s' again changes it", directory.c_str());
  for (const auto& [name, hash] : once) {
    if (name.starts_with(".journal-") || name.starts_with(".stage-")) {
      complain("'%s' is left after recovery", name.c_str());
    }
  }
  return true;
}

void verify(const std::string& directory) {
  const Ended verdict = run_program({"mc-verify", directory});
  if (verdict.code != 0) complain("mc-verify: exit %d: %s", verdict.code, verdict.words.c_str());
}

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: frame_oracle [--recover] [--entered-bytes N | --entered-all] [--max-lost N] DIR IN.fmp4 EVENTS "
               "[IN.fmp4 EVENTS]...\n");
  std::exit(64);
}

std::uint64_t number(const char* text) {
  std::uint64_t value = 0;
  const char* end = text + std::strlen(text);
  if (const auto [at, error] = std::from_chars(text, end, value); error != std::errc{} || at != end) usage();
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  bool with_recovery = false, entered_known = false;
  std::uint64_t entered_bytes = 0, max_lost = UINT64_MAX;
  int i = 1;
  for (; i < argc && std::strncmp(argv[i], "--", 2) == 0; ++i) {
    const std::string option = argv[i];
    const bool with_value = option == "--entered-bytes" || option == "--max-lost";
    if (with_value && i + 1 == argc) usage();
    if (option == "--recover") {
      with_recovery = true;
    } else if (option == "--entered-all") {
      entered_known = true;
      entered_bytes = UINT64_MAX;
    } else if (option == "--entered-bytes") {
      entered_known = true;
      entered_bytes = number(argv[++i]);
    } else if (option == "--max-lost") {
      max_lost = number(argv[++i]);
    } else {
      usage();
    }
  }
  if (argc - i < 3 || (argc - i) % 2 != 1) usage();
  if (max_lost != UINT64_MAX && !entered_known) usage();
  const std::string directory = argv[i++];

  std::vector<Run> runs;
  std::uint64_t acknowledged = 0, entered = 0;
  for (; i < argc; i += 2) {
    const ByteBuffer input = slurp(argv[i]);
    runs.push_back({keepable(input, argv[i]), read_events(argv[i + 1])});
    for (const auto& [track, times] : runs.back().acknowledged) acknowledged += times.size();
    if (i + 2 >= argc) {
      const auto bytes = std::min<std::uint64_t>(entered_bytes, input.size());
      entered = count(keepable(ByteView(input).first(bytes), argv[i]));
    }
  }

  if (with_recovery) {
    const bool there = recover(directory);
    if (!there && acknowledged > 0) complain("'%s' is no recording any more", directory.c_str());
    if (there && count(read_recording(directory)) > 0) verify(directory);
  }
  const Frames found = read_recording(directory);
  std::map<std::uint32_t, std::size_t> at;
  Tally all, last;
  for (const Run& run : runs) {
    last = {};
    for (const auto& [track, frames] : run.frames) {
      const auto times = run.acknowledged.find(track);
      const auto there = found.find(track);
      const Tally tally =
          match_track(track, frames, times == run.acknowledged.end() ? Acknowledged::mapped_type{} : times->second,
                      there == found.end() ? std::vector<Frame>{} : there->second, at[track]);
      last.found += tally.found;
      last.skipped += tally.skipped;
    }
    for (const auto& [track, times] : run.acknowledged) {
      if (!run.frames.contains(track)) complain("track %u was acknowledged, the input has none", track);
    }
    all.found += last.found;
    all.skipped += last.skipped;
  }
  for (const auto& [track, frames] : found) {
    if (at[track] < frames.size()) {
      complain("track %u: frame %zu at decode time %llu is none of the input's", track, at[track],
               static_cast<unsigned long long>(frames[at[track]].sample.decode_time));
    }
  }
  const std::uint64_t lost = entered > last.found ? entered - last.found : 0;
  if (lost > max_lost) {
    complain("%llu frames had entered, %llu of them are lost", static_cast<unsigned long long>(entered),
             static_cast<unsigned long long>(lost));
  }
  std::printf("acked=%llu found=%llu", static_cast<unsigned long long>(acknowledged),
              static_cast<unsigned long long>(all.found));
  if (entered_known) {
    std::printf(" entered=%llu lost=%llu", static_cast<unsigned long long>(entered),
                static_cast<unsigned long long>(lost));
  }
  std::printf(" skipped=%llu\n", static_cast<unsigned long long>(all.skipped));
  return wrong == 0 ? 0 : 1;
}
