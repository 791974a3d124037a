// A small recording whose files are cut off at every byte, or have one byte changed: what no crash does, but disks do.
// Either it is noticed, or nothing is lost by it (issue: crash proof, point 5).
#include <gtest/gtest.h>

#include <filesystem>

#include "crash/recordings.hpp"
#include "spool/publish.hpp"
#include "spool/recording.hpp"
#include "spool/recovery.hpp"

namespace mc::crash {
namespace {

using Tree = std::map<std::string, ByteBuffer>;

// A file system that holds these files, and no more.
SimFileSystem file_system_of(const Tree& tree) {
  SimFileSystem fs;
  EXPECT_TRUE(sys::make_directories(fs, kDirectory));
  for (const auto& [path, bytes] : tree) {
    auto file = fs.create(path);
    EXPECT_TRUE(file && (*file)->write(bytes));
  }
  return fs;
}

// Shape 0 in the middle of its second chunk, and at its end.
Tree open_recording() {
  const Recorded recorded = record(shape_of(0));
  std::size_t journals = 0;
  std::size_t length = 0;
  while (length < recorded.log.size() && journals < 3) {
    const auto* create = std::get_if<CreateOp>(&recorded.log[length++]);
    if (create != nullptr && create->name.starts_with(".journal-")) ++journals;
  }
  return SimFileSystem::after_crash(recorded.log, {length - 1, {}, 0}).tree();
}

Tree closed_recording() {
  SimFileSystem fs = file_system_of(open_recording());
  EXPECT_TRUE(spool::recover_recording(fs, kDirectory, no_log()));
  spool::DiskErrors errors(no_log());
  spool::ManifestWriter manifest(fs, kDirectory, errors);
  EXPECT_TRUE(manifest.begin());
  EXPECT_TRUE(spool::close_recording(manifest, spool::load_manifest(fs, kDirectory)->manifest.chunk_count(), 0));
  return fs.tree();
}

bool all_is_well(SimFileSystem& fs, bool must_be_closed) {
  const auto report = spool::verify_recording(fs, kDirectory, {});
  return report && report->findings.empty() && (report->closed || !must_be_closed);
}

std::uint64_t frames(SimFileSystem& fs) {
  const auto report = spool::verify_recording(fs, kDirectory, {});
  return report ? report->video_frames + report->audio_frames : 0;
}

struct Recovery {
  bool done = false;
  bool said_something = false;
};
Recovery recover(SimFileSystem& fs) {
  Recovery recovery;
  const Log log = [&](LogLevel level, std::string_view) {
    if (level >= LogLevel::warning) recovery.said_something = true;
  };
  recovery.done = spool::recover_recording(fs, kDirectory, log).has_value();
  return recovery;
}

// Each bit of one file changed, and that recovered: `look` sees what came of it. How many there were.
template <class Look>
std::size_t recover_each_flip(const Tree& tree, const std::string& path, Look look) {
  std::size_t flips = 0;
  for (std::size_t i = 0; i < tree.at(path).size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit, ++flips) {
      SCOPED_TRACE("byte " + std::to_string(i) + " bit " + std::to_string(bit));
      Tree changed = tree;
      changed[path][i] ^= static_cast<std::uint8_t>(1U << bit);
      SimFileSystem fs = file_system_of(changed);
      const bool recovered = recover(fs).done;
      EXPECT_TRUE(recovered);
      if (recovered) look(fs);
    }
  }
  return flips;
}

TEST(SpoolFlips, EveryByteOfAClosedRecordingChangedIsNoticed) {
  const Tree tree = closed_recording();
  std::size_t flips = 0;
  for (const auto& [path, bytes] : tree) {
    const bool is_manifest = path.ends_with("/manifest");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      // Each bit of the manifest, one of the other files: their hashes know no difference.
      for (unsigned bit = is_manifest ? 0 : i % 8; bit < (is_manifest ? 8 : i % 8 + 1); ++bit) {
        Tree changed = tree;
        changed[path][i] ^= static_cast<std::uint8_t>(1U << bit);
        SimFileSystem fs = file_system_of(changed);
        EXPECT_FALSE(all_is_well(fs, true)) << path << " byte " << i << " bit " << bit;
        ++flips;
      }
    }
  }
  std::printf("%zu changed bits, each noticed\n", flips);
}

// The acknowledged frames are in the chunks and in the journals: a manifest that a disk has damaged must not cost one.
TEST(SpoolFlips, EveryByteOfAnOpenManifestChangedCostsNoFrame) {
  const Tree tree = open_recording();
  const std::string path = std::string(kDirectory) + "/manifest";
  SimFileSystem whole = file_system_of(tree);
  ASSERT_TRUE(recover(whole).done);
  const std::uint64_t all = frames(whole);
  const auto close = [](SimFileSystem& fs) {
    spool::DiskErrors errors(no_log());
    spool::ManifestWriter manifest(fs, kDirectory, errors);
    return manifest.begin() && spool::close_recording(manifest, 2, SIZE_MAX);
  };
  ASSERT_TRUE(close(whole));
  const ByteBuffer want = whole.tree().at(path);
  std::size_t late = 0;
  const std::size_t flips = recover_each_flip(tree, path, [&](SimFileSystem& fs) {
    // Where a digit of a hash became another one, only its file can tell: that is read when the recording is closed.
    if (frames(fs) != all) ++late;
    ASSERT_TRUE(close(fs));
    EXPECT_EQ(frames(fs), all);
    EXPECT_EQ(fs.tree().at(path), want);
  });
  EXPECT_GT(late, 0U);
  std::printf("%zu changed bits of an open manifest: each put right, %zu of them only by closing\n", flips, late);
}

TEST(SpoolFlips, EveryByteOfAClosedManifestChangedIsPutRight) {
  const Tree tree = closed_recording();
  const std::string path = std::string(kDirectory) + "/manifest";
  const std::size_t flips = recover_each_flip(tree, path, [&](SimFileSystem& fs) {
    EXPECT_EQ(fs.tree().at(path), tree.at(path));
    EXPECT_TRUE(all_is_well(fs, true));
  });
  std::printf("%zu changed bits of a closed manifest: each put right\n", flips);
}

TEST(SpoolFlips, AClosedManifestCutOffAtEveryByteIsNoLongerClosed) {
  const Tree tree = closed_recording();
  const std::string path = std::string(kDirectory) + "/manifest";
  const ByteBuffer& manifest = tree.at(path);
  for (std::size_t n = 0; n < manifest.size(); ++n) {
    Tree cut = tree;
    cut[path].resize(n);
    SimFileSystem fs = file_system_of(cut);
    EXPECT_FALSE(all_is_well(fs, true)) << n;
    // Recovery makes it whole again from the chunks, as far as its head is there, or changes nothing.
    const Tree before = fs.tree();
    if (recover(fs).done && fs.info(path)) {
      EXPECT_TRUE(all_is_well(fs, false)) << n;
    } else {
      for (const auto& [name, bytes] : before) EXPECT_TRUE(fs.tree().contains(name) || name.find("/.") != name.npos);
    }
  }
}

TEST(SpoolFlips, AJournalChangedOrCutOffAnywhereLosesNothingInSilence) {
  const Tree tree = open_recording();
  SimFileSystem whole = file_system_of(tree);
  ASSERT_TRUE(recover(whole).done);
  const std::uint64_t all = frames(whole);
  std::size_t silent = 0;
  std::size_t journals = 0;
  for (const auto& [path, bytes] : tree) {
    if (path.find(".journal-") == std::string::npos) continue;
    ++journals;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      Tree changed = tree;
      changed[path][i] ^= static_cast<std::uint8_t>(1U << i % 8);
      SimFileSystem fs = file_system_of(changed);
      const Recovery recovery = recover(fs);
      ASSERT_TRUE(recovery.done) << path << " byte " << i;
      EXPECT_TRUE(all_is_well(fs, false)) << path << " byte " << i;
      if (frames(fs) < all && !recovery.said_something) ++silent;

      Tree cut = tree;
      cut[path].resize(i);
      SimFileSystem shorter = file_system_of(cut);
      ASSERT_TRUE(recover(shorter).done) << path << " cut at " << i;
      EXPECT_TRUE(all_is_well(shorter, false)) << path << " cut at " << i;
    }
  }
  ASSERT_GE(journals, 1U);
  // The newest record of a journal, changed, looks like one that was never written whole: one frame each, at most.
  std::size_t newest = 0;
  for (const auto& [path, bytes] : tree) {
    if (path.find(".journal-") != std::string::npos) newest += 17 + 37 + 800;  // of shape 0
  }
  EXPECT_LE(silent, newest);
  std::printf("%zu journals, %zu changes looked like a torn last record\n", journals, silent);
}

}  // namespace
}  // namespace mc::crash
