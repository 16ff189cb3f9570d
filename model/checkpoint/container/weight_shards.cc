#include "model/checkpoint/container/weight_shards.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"

namespace peerage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A way in which a model directory may hold its weights.
struct WeightNames {
  absl::string_view index;
  absl::string_view single;                // not beside an index
  absl::string_view extension;             // of the files that the index names
  std::vector<absl::string_view> endings;  // one of them ends the only file's name, without index
};

// The first that a directory has counts. Training leaves other *.bin and *.pt beside
// pytorch_model.bin: of options, of the optimizer.
const WeightNames kWeightNames[] = {
    {"model.safetensors.index.json", "model.safetensors", ".safetensors", {".safetensors"}},
    {"pytorch_model.bin.index.json", "pytorch_model.bin", ".bin", {"pytorch_model.bin"}},
    {"pytorch_model.bin.index.json", "pytorch_model.bin", ".bin", {".bin", ".pt", ".pth"}}};

constexpr uint64_t kMaxIndexBytes = uint64_t{16} << 20;
constexpr size_t kMaxShards = 1024;

constexpr size_t kMostFilesNamed = 4;  // files in an error

using TensorNames = std::set<std::string>;
using WeightMap = std::map<std::string, TensorNames>;  // by file name

std::string PathOf(const std::string& directory, absl::string_view name) {
  return fs::path(directory) / std::string(name);
}

// Whether the name is one of a file in this very directory: an index comes from whoever made the
// model, and must not reach for other files. A file of that name may be a link; links come from
// whoever owns the directory.
absl::Status CheckShardName(const std::string& directory, const std::string& name,
                            absl::string_view extension) {
  if (!absl::EndsWith(name, extension) || name == extension || absl::StrContains(name, '/') ||
      absl::StrContains(name, '\0')) {
    return absl::InvalidArgumentError(
        absl::StrCat("file ", Quoted(name), " is not the name of a ", extension, " file"));
  }
  std::error_code error;
  if (fs::exists(PathOf(directory, name), error)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("file ", Quoted(name), ": no such file"));
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

absl::StatusOr<WeightMap> ReadIndex(const std::string& directory, const std::string& path,
                                    absl::string_view extension) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxIndexBytes));
  ASSIGN_OR_RETURN(WeightMap shards, At(path, ParseIndex(text)));
  for (const auto& [name, tensors] : shards) {
    RETURN_IF_ERROR(At(path, CheckShardName(directory, name, extension)));
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

// Adds a shard's files and tensors behind those that are there.
void AddShard(StoredWeights shard, StoredWeights& weights) {
  for (StoredTensor& tensor : shard.tensors) {
    tensor.file += static_cast<int>(weights.files.size());
    weights.tensors.push_back(std::move(tensor));
  }
  for (auto& file : shard.files) weights.files.push_back(std::move(file));
  weights.format = shard.format;
}

absl::StatusOr<StoredWeights> OpenIndexed(const std::string& directory, const WeightNames& names,
                                          const StoredWeightsOptions& options) {
  const std::string index = PathOf(directory, names.index);
  ASSIGN_OR_RETURN(const WeightMap promised, ReadIndex(directory, index, names.extension));
  StoredWeights weights;
  for (const auto& [name, tensors] : promised) {
    const std::string path = PathOf(directory, name);
    ASSIGN_OR_RETURN(StoredWeights shard, OpenWeightFile(path, options));
    RETURN_IF_ERROR(CheckTensorNames(path, tensors, shard.tensors));
    AddShard(std::move(shard), weights);
  }
  return weights;
}

absl::StatusOr<std::vector<std::string>> FindFiles(const std::string& directory,
                                                   const WeightNames& names) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    for (const absl::string_view ending : names.endings) {
      if (absl::EndsWith(name, ending)) found.push_back(name);
    }
  }
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  std::sort(found.begin(), found.end());
  return found;
}

// Absent when the directory has no such files.
absl::StatusOr<std::optional<StoredWeights>> OpenNamed(const std::string& directory,
                                                       const WeightNames& names,
                                                       const StoredWeightsOptions& options) {
  std::error_code error;
  if (fs::exists(PathOf(directory, names.index), error)) {
    if (fs::exists(PathOf(directory, names.single), error)) {
      return absl::InvalidArgumentError(
          absl::StrCat(directory, ": has both ", names.single, " and ", names.index));
    }
    return OpenIndexed(directory, names, options);
  }
  ASSIGN_OR_RETURN(std::vector<std::string> files, FindFiles(directory, names));
  if (files.empty()) return std::nullopt;
  if (files.size() == 1) return OpenWeightFile(PathOf(directory, files.front()), options);
  const size_t count = files.size();
  if (count > kMostFilesNamed) files.resize(kMostFilesNamed), files.push_back("...");
  return absl::InvalidArgumentError(
      absl::StrCat(directory, ": ", count, " *", absl::StrJoin(names.endings, ", *"), " files (",
                   absl::StrJoin(files, ", "), "), but no ", names.index));
}

}  // namespace

absl::StatusOr<StoredWeights> OpenWeightShards(const std::string& directory,
                                               const StoredWeightsOptions& options) {
  for (const WeightNames& names : kWeightNames) {
    ASSIGN_OR_RETURN(std::optional<StoredWeights> weights, OpenNamed(directory, names, options));
    if (weights.has_value()) return *std::move(weights);
  }
  return absl::NotFoundError(absl::StrCat(
      directory, ": no *.safetensors file (and no pytorch_model.bin, *.bin, *.pt or *.pth)"));
}

}  // namespace peerage
