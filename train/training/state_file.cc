#include "train/training/state_file.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/safetensors.h"
#include "model/checkpoint/container/safetensors_writer.h"

namespace peerage::train {
namespace {

namespace fs = std::filesystem;

constexpr char kRunTensor[] = "run";
constexpr size_t kKept = 2;
constexpr uint64_t kMaxRunBytes = uint64_t{1} << 24;

fs::path DirectoryOf(const std::string& out) { return fs::path(out) / "checkpoints"; }

// Oldest first: names have as many digits as any step needs.
absl::StatusOr<std::vector<fs::path>> States(const std::string& out) {
  std::vector<fs::path> states;
  std::error_code error;
  if (!fs::exists(DirectoryOf(out), error)) return states;
  for (fs::directory_iterator entry(DirectoryOf(out), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, "step-") && absl::EndsWith(name, ".safetensors")) {
      states.push_back(entry->path());
    }
  }
  if (error) return absl::UnknownError(absl::StrCat(out, ": ", error.message()));
  std::sort(states.begin(), states.end());
  return states;
}

template <typename T>
absl::Span<const uint8_t> BytesOf(absl::Span<T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
}

struct OpenedState {
  std::unique_ptr<RandomAccessFile> file;
  std::vector<StoredTensor> tensors;
};

absl::StatusOr<OpenedState> Open(const std::string& path) {
  OpenedState state;
  ASSIGN_OR_RETURN(state.file, OpenRandomAccessFile(path));
  ASSIGN_OR_RETURN(SafetensorsContents contents, ReadSafetensors(*state.file));
  state.tensors = std::move(contents.tensors);
  return state;
}

absl::Status ErrorIn(const std::string& path, const std::string& tensor, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", Quoted(tensor), " ", what));
}

}  // namespace

absl::StatusOr<std::optional<std::string>> NewestState(const std::string& out) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> states, States(out));
  if (states.empty()) return std::nullopt;
  return states.back().string();
}

absl::Status WriteState(const std::string& out, LearningModel& model,
                        const nlohmann::ordered_json& run) {
  std::error_code error;
  fs::create_directories(DirectoryOf(out), error);
  if (error) return absl::UnknownError(absl::StrCat(out, ": ", error.message()));
  const std::string text = run.dump();
  const std::vector<LearningModel::StateTensor> state = model.State();
  std::vector<SafetensorsEntry> plan = {
      {kRunTensor, "U8", {static_cast<int64_t>(text.size())}, text.size()}};
  for (const LearningModel::StateTensor& tensor : state) {
    plan.push_back({tensor.name, "F32", tensor.shape, tensor.values.size() * sizeof(float)});
  }
  const fs::path path = DirectoryOf(out) / absl::StrFormat("step-%013d.safetensors", model.steps());
  // Of a run that is stopped behind a step that saved its state: a step has but one state.
  if (fs::exists(path, error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(path.string(), plan));
  RETURN_IF_ERROR(writer->Append(BytesOf(absl::MakeConstSpan(text))));
  for (const LearningModel::StateTensor& tensor : state) {
    RETURN_IF_ERROR(writer->Append(BytesOf(tensor.values)));
  }
  RETURN_IF_ERROR(writer->Finish());
  ASSIGN_OR_RETURN(const std::vector<fs::path> states, States(out));
  for (size_t i = 0; i + kKept < states.size(); ++i) fs::remove(states[i], error);
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::ordered_json> ReadStateRun(const std::string& path) {
  ASSIGN_OR_RETURN(const OpenedState state, Open(path));
  for (const StoredTensor& tensor : state.tensors) {
    if (tensor.name != kRunTensor) continue;
    if (tensor.dtype != "U8" || tensor.bytes > kMaxRunBytes) break;
    std::string text(tensor.bytes, '\0');
    RETURN_IF_ERROR(state.file->Read(
        tensor.offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
    RETURN_IF_ERROR(At(path, ParseStrictJson(text).status()));
    return nlohmann::ordered_json::parse(text);
  }
  return ErrorIn(path, kRunTensor, "is not there: this is no checkpoint of peerage-train");
}

absl::Status ReadState(const std::string& path, LearningModel& model) {
  ASSIGN_OR_RETURN(const OpenedState opened, Open(path));
  const std::vector<LearningModel::StateTensor> state = model.State();
  if (opened.tensors.size() != state.size() + 1) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds ", opened.tensors.size() - 1,
                                                   " tensors; the run has ", state.size()));
  }
  for (const LearningModel::StateTensor& tensor : state) {
    const auto found =
        std::find_if(opened.tensors.begin(), opened.tensors.end(),
                     [&](const StoredTensor& stored) { return stored.name == tensor.name; });
    if (found == opened.tensors.end()) return ErrorIn(path, tensor.name, "is missing");
    if (found->dtype != "F32" || found->shape != tensor.shape) {
      return ErrorIn(path, tensor.name, "has another shape or dtype than the run's");
    }
    RETURN_IF_ERROR(opened.file->Read(
        found->offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(tensor.values.data()),
                                      tensor.values.size() * sizeof(float))));
  }
  return absl::OkStatus();
}

void RemoveStates(const std::string& out) {
  std::error_code ignored;
  fs::remove_all(DirectoryOf(out), ignored);
}

}  // namespace peerage::train
