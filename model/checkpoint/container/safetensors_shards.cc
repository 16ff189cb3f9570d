#include "model/checkpoint/container/safetensors_shards.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/container/safetensors.h"

namespace peerage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr char kExtension[] = ".safetensors";
constexpr uint64_t kMaxIndexBytes = uint64_t{16} << 20;
constexpr size_t kMaxShards = 1024;

using TensorNames = std::set<std::string>;
using WeightMap = std::map<std::string, TensorNames>;  // by file name

// Whether the name is one of a file in this very directory.
absl::Status CheckShardName(const std::string& directory, const std::string& name) {
  if (!absl::EndsWith(name, kExtension) || name == kExtension || absl::StrContains(name, '/') ||
      absl::StrContains(name, '\0')) {
    return absl::InvalidArgumentError(
        absl::StrCat("file ", Quoted(name), " is not the name of a .safetensors file"));
  }
  std::error_code error;
  const fs::path home = fs::canonical(directory, error);
  if (error) return absl::NotFoundError(absl::StrCat(directory, ": ", error.message()));
  const fs::path file = fs::canonical(home / name, error);
  if (error) return absl::NotFoundError(absl::StrCat("file ", Quoted(name), ": ", error.message()));
  if (file.parent_path() == home) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("file ", Quoted(name), " is a link out of the model directory"));
}

absl::StatusOr<WeightMap> ParseIndex(const std::string& text) {
  ASSIGN_OR_RETURN(const json value, ParseStrictJson(text));
  ASSIGN_OR_RETURN(JsonObject index, JsonObject::Of(value, ""));
  const json* weight_map = index.Find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return index.Error("weight_map", "is not a JSON object");
  }
  WeightMap shards;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      return index.Error("weight_map", absl::StrCat("has no file name for ", Quoted(tensor)));
    }
    shards[file.get<std::string>()].insert(tensor);
  }
  if (shards.empty() || shards.size() > kMaxShards) {
    return index.Error("weight_map",
                       absl::StrCat("names ", shards.size(), " files, not 1..", kMaxShards));
  }
  return shards;
}

absl::StatusOr<WeightMap> ReadIndex(const std::string& directory, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxIndexBytes));
  ASSIGN_OR_RETURN(WeightMap shards, At(path, ParseIndex(text)));
  for (const auto& [name, tensors] : shards) {
    RETURN_IF_ERROR(At(path, CheckShardName(directory, name)));
  }
  return shards;
}

absl::Status CheckTensorNames(const std::string& shard, const TensorNames& promised,
                              const std::vector<StoredTensor>& stored) {
  TensorNames missing = promised;
  for (const StoredTensor& tensor : stored) {
    if (missing.erase(tensor.name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(shard, ": tensor ", Quoted(tensor.name),
                                                     " is not the index's for this file"));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(shard, ": tensor ", Quoted(*missing.begin()), " of the index is missing"));
}

absl::StatusOr<SafetensorsShards> OpenIndexed(const std::string& directory,
                                              const std::string& index_path) {
  ASSIGN_OR_RETURN(const WeightMap promised, ReadIndex(directory, index_path));
  SafetensorsShards shards;
  for (const auto& [name, tensors] : promised) {
    const std::string path = fs::path(directory) / name;
    ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file, OpenRandomAccessFile(path));
    ASSIGN_OR_RETURN(SafetensorsContents contents, ReadSafetensors(*file));
    RETURN_IF_ERROR(CheckTensorNames(path, tensors, contents.tensors));
    for (StoredTensor& tensor : contents.tensors) {
      tensor.file = static_cast<int>(shards.files.size());
      shards.tensors.push_back(std::move(tensor));
    }
    shards.files.push_back(std::move(file));
  }
  return shards;
}

absl::StatusOr<std::string> FindOnlyFile(const std::string& directory) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == kExtension) found.push_back(entry->path());
  }
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  if (found.size() == 1) return found.front();
  if (found.empty()) return absl::NotFoundError(absl::StrCat(directory, ": no *.safetensors file"));
  return absl::InvalidArgumentError(
      absl::StrCat(directory, ": ", found.size(), " *.safetensors files, but no ", kIndexName));
}

}  // namespace

absl::StatusOr<SafetensorsShards> OpenSafetensorsShards(const std::string& directory) {
  const fs::path index_path = fs::path(directory) / kIndexName;
  std::error_code error;
  if (fs::exists(index_path, error)) {
    if (fs::exists(fs::path(directory) / "model.safetensors", error)) {
      return absl::InvalidArgumentError(
          absl::StrCat(directory, ": has both model.safetensors and ", kIndexName));
    }
    return OpenIndexed(directory, index_path);
  }
  ASSIGN_OR_RETURN(const std::string path, FindOnlyFile(directory));
  return OpenSafetensorsFile(path);
}

absl::StatusOr<SafetensorsShards> OpenSafetensorsFile(const std::string& path) {
  SafetensorsShards shards;
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file, OpenRandomAccessFile(path));
  ASSIGN_OR_RETURN(SafetensorsContents contents, ReadSafetensors(*file));
  shards.files.push_back(std::move(file));
  shards.tensors = std::move(contents.tensors);
  return shards;
}

}  // namespace peerage
