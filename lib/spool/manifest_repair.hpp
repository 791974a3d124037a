// A damaged manifest put right: from its own whole lines, and from the files that it lists.
//
// A `#` line with one wrong byte is mended by its CRC, and so is a newline. Descriptions and hashes of files that are
// there are made anew from the files, in the same words as they were written in. What cannot be known again is a ledger
// line with more than one wrong byte: a mark is lost, a hole keeps its line with the reason `unknown`. Nothing is taken
// from a file whose hash differs from its listed one by more than a digit: it is that file which is damaged then, and
// its lines stay.
//
// The damaged manifest is kept beside it under a hidden name (.aside-manifest-HASH).
#pragma once

#include <string>

#include "spool/publish.hpp"
#include "spool/recording.hpp"

namespace mc::spool {

// Is this manifest to be put right? A torn tail is no damage; an end line whose root does not match is.
bool is_damaged(const LoadedManifest& loaded);

// Is `listed` this hash with some wrong digits? That is what a damaged hash line is; of a file that was changed hardly
// one digit in sixteen is the same.
bool is_damaged_copy(const std::string& listed, const std::string& sha256);

// Reads every file of the recording. Kind damaged, and then nothing is changed: a closed manifest that does not come
// out as it was (its root tells), or lines that are lost together with their file.
Status repair_manifest(sys::FileSystem& fs, const std::string& directory, DiskErrors& errors);

// SESSION/TAKE/GUEST from the directory's own place, else solo/001/NAME. Kind usage: its name is none for a guest.
Result<wire::RecordingPath> path_from_directory(const std::string& directory);

}  // namespace mc::spool
