#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace peerage::transform {

// A model directory that appears as a whole. Until Commit its files are in a directory inside it,
// `model.partial`; without Commit all that was made goes with the object, directories too. What a
// killed process has left in `model.partial` is removed by the next one; a lock tells a dead
// process from one that is at work.
class NewModelDirectory {
 public:
  // Whether a model may be written there: a directory that has anything a model directory is read
  // from (*.safetensors, *.bin, *.pt, *.pth, *.json, *.jinja, merges.txt) is an error. One that is
  // not there is none.
  static absl::Status Check(const std::string& path, const std::vector<std::string>& replaced = {});

  struct Options {
    std::string path;
    uint64_t bytes = 0;  // that its tensors need
    // Names of files in the directory that may be there: Commit sets them aside, in
    // `model.replaced`, until the new ones are in their places.
    std::vector<std::string> replaced = {};
  };
  // Checks, the room on the disk too, and makes the directory where there is none.
  static absl::StatusOr<std::unique_ptr<NewModelDirectory>> Create(Options options);

  NewModelDirectory(const NewModelDirectory&) = delete;
  NewModelDirectory& operator=(const NewModelDirectory&) = delete;
  ~NewModelDirectory();

  // Where the files are to be written.
  const std::string& partial_path() const { return partial_path_; }

  // Moves the files to their place, config.json last: without it nothing takes them for a model.
  absl::Status Commit();

 private:
  explicit NewModelDirectory(Options options);

  absl::Status Make();
  absl::Status Lock();
  absl::Status SetReplacedAside();
  void RestoreReplaced();
  absl::Status MoveFiles();

  const std::filesystem::path path_;
  const std::string partial_path_;
  const std::vector<std::string> replaced_;
  std::vector<std::filesystem::path> made_;   // goes without Commit, the last first
  std::vector<std::filesystem::path> aside_;  // names of what was replaced
  int lock_ = -1;                             // descriptor of `model.partial`
  bool committed_ = false;
};

}  // namespace peerage::transform
