#include "model/transform/new_model_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/tokenizer_file_names.h"
#include "model/transform/free_space.h"

namespace peerage::transform {
namespace {

namespace fs = std::filesystem;

constexpr char kAsideName[] = "model.replaced";
constexpr const char* kModelExtensions[] = {".safetensors", ".json", ".jinja",
                                            ".bin",         ".pt",   ".pth"};

bool IsOfAModel(const fs::path& file) {
  return file.filename() == kMergesName ||
         std::find(std::begin(kModelExtensions), std::end(kModelExtensions), file.extension()) !=
             std::end(kModelExtensions);
}

absl::Status ErrorAt(const fs::path& path, const std::error_code& error) {
  return absl::UnknownError(absl::StrCat(path.string(), ": ", error.message()));
}

absl::StatusOr<std::vector<fs::path>> EntriesOf(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    entries.push_back(entry->path());
  }
  if (error) return ErrorAt(directory, error);
  return entries;
}

// The directory and those above it that are not there, the outermost first.
std::vector<fs::path> MissingDirectories(fs::path path) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (; !path.empty() && !fs::exists(path, error); path = path.parent_path()) {
    missing.insert(missing.begin(), path);
  }
  return missing;
}

}  // namespace

absl::Status NewModelDirectory::Check(const std::string& path,
                                      const std::vector<std::string>& replaced) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<fs::path> entries, EntriesOf(path));
  for (const fs::path& entry : entries) {
    if (std::find(replaced.begin(), replaced.end(), entry.filename()) != replaced.end()) continue;
    if (entry.filename() == kAsideName) {
      return absl::AlreadyExistsError(
          absl::StrCat(entry.string(),
                       ": holds the files of a model that was being replaced when that was "
                       "killed; move them back, or remove it"));
    }
    if (!IsOfAModel(entry)) continue;
    return absl::AlreadyExistsError(absl::StrCat(
        entry.string(), ": is there already; --out takes a directory without a model's files"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<NewModelDirectory>> NewModelDirectory::Create(Options options) {
  RETURN_IF_ERROR(Check(options.path, options.replaced));
  RETURN_IF_ERROR(CheckFreeSpace(options.path, options.bytes));
  std::unique_ptr<NewModelDirectory> directory(new NewModelDirectory(std::move(options)));
  RETURN_IF_ERROR(directory->Make());
  RETURN_IF_ERROR(directory->Lock());
  return directory;
}

NewModelDirectory::NewModelDirectory(Options options)
    : path_(std::move(options.path)),
      partial_path_(path_ / "model.partial"),
      replaced_(std::move(options.replaced)) {}

NewModelDirectory::~NewModelDirectory() {
  std::error_code ignored;
  if (lock_ >= 0) fs::remove_all(partial_path_, ignored);
  for (size_t i = made_.size(); !committed_ && i > 0; --i) fs::remove(made_[i - 1], ignored);
  if (!committed_) RestoreReplaced();
  if (lock_ >= 0) close(lock_);
}

absl::Status NewModelDirectory::Make() {
  for (const fs::path& missing : MissingDirectories(partial_path_)) {
    std::error_code error;
    fs::create_directory(missing, error);
    if (error) return ErrorAt(missing, error);
    made_.push_back(missing);
  }
  return absl::OkStatus();
}

absl::Status NewModelDirectory::Lock() {
  const int descriptor =
      open(partial_path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", partial_path_));
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(descriptor);
    return absl::UnavailableError(
        absl::StrCat(partial_path_, ": another process is writing a model there"));
  }
  lock_ = descriptor;
  ASSIGN_OR_RETURN(const std::vector<fs::path> left_behind, EntriesOf(partial_path_));
  for (const fs::path& entry : left_behind) {
    std::error_code error;
    fs::remove_all(entry, error);
    if (error) return ErrorAt(entry, error);
  }
  return absl::OkStatus();
}

// config.json first, as it comes last.
absl::Status NewModelDirectory::SetReplacedAside() {
  std::vector<fs::path> files(replaced_.begin(), replaced_.end());
  std::partition(files.begin(), files.end(),
                 [](const fs::path& file) { return file == kModelConfigName; });
  std::error_code error;
  if (!files.empty()) fs::create_directory(path_ / kAsideName, error);
  if (error) return ErrorAt(path_ / kAsideName, error);
  for (const fs::path& file : files) {
    if (!fs::exists(path_ / file, error)) continue;
    fs::rename(path_ / file, path_ / kAsideName / file, error);
    if (error) return ErrorAt(path_ / file, error);
    aside_.push_back(file);
  }
  return absl::OkStatus();
}

void NewModelDirectory::RestoreReplaced() {
  std::error_code ignored;
  for (const fs::path& file : aside_) fs::rename(path_ / kAsideName / file, path_ / file, ignored);
  fs::remove(path_ / kAsideName, ignored);  // if it is empty
}

absl::Status NewModelDirectory::MoveFiles() {
  ASSIGN_OR_RETURN(std::vector<fs::path> files, EntriesOf(partial_path_));
  std::partition(files.begin(), files.end(),
                 [](const fs::path& file) { return file.filename() != kModelConfigName; });
  for (const fs::path& file : files) {
    const fs::path place = path_ / file.filename();
    std::error_code error;
    if (fs::exists(place, error)) {
      return absl::AlreadyExistsError(absl::StrCat(place.string(), ": is there already"));
    }
    fs::rename(file, place, error);
    if (error) return ErrorAt(place, error);
    made_.push_back(place);
  }
  return absl::OkStatus();
}

absl::Status NewModelDirectory::Commit() {
  RETURN_IF_ERROR(Check(path_, replaced_));
  RETURN_IF_ERROR(SetReplacedAside());
  RETURN_IF_ERROR(MoveFiles());
  committed_ = true;
  std::error_code ignored;
  fs::remove_all(path_ / kAsideName, ignored);
  return absl::OkStatus();
}

}  // namespace peerage::transform
