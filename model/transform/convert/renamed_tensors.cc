#include "model/transform/convert/renamed_tensors.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/checkpoint/layout/tensor_layout.h"

namespace peerage::transform {
namespace {

// Where a tensor's bytes are and how they are read: two of the same are one tensor of two names.
using Whereabouts = std::tuple<int, uint64_t, std::string, std::vector<int64_t>>;

constexpr size_t kMaxNameBytes = 512;  // that readers take

// Whether a safetensors file may have a tensor of that name.
absl::Status CheckName(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameBytes || name == "__metadata__" || !IsValidUtf8(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name), " is no name for a tensor: it takes 1 to ", kMaxNameBytes,
                     " bytes of UTF-8, and not \"__metadata__\""));
  }
  return absl::OkStatus();
}

// Rows of the model's tensors by their names in a file; of mixtures under both namings.
std::map<std::string, int64_t> RowsByName(const ModelConfig* config) {
  std::map<std::string, int64_t> rows;
  if (config == nullptr) return rows;
  std::vector<TensorNaming> namings = {TensorNaming::kLlama};
  if (config->architecture == "peerage") namings = {TensorNaming::kPeerage};
  if (config->architecture == "mixtral") {
    namings = {TensorNaming::kMixtral, TensorNaming::kMixtralPacked};
  }
  for (const TensorNaming naming : namings) {
    for (const TensorSpec& spec : TensorLayout(*config, naming)) {
      for (const StoredPart& part : spec.parts) rows.emplace(part.name, part.shape.front());
    }
  }
  return rows;
}

class Renamer {
 public:
  explicit Renamer(const Renaming& renaming)
      : renaming_(renaming), rows_(RowsByName(renaming.config)) {}

  absl::Status Add(const StoredTensor& tensor) {
    NameMapping::Renamed renamed{.names = {tensor.name}, .matched = true};
    if (renaming_.names.has_value()) renamed = renaming_.names->Rename(tensor.name);
    used_.insert(renamed.patterns.begin(), renamed.patterns.end());
    if (!renamed.matched) {
      result_.unmatched.push_back(tensor.name);
      if (renaming_.drop_unmatched) return absl::OkStatus();
    }
    if (renamed.names.size() == 1) return AddPart(tensor.name, tensor, renamed.names.front());
    return At(absl::StrCat("tensor ", Quoted(tensor.name)), Divide(tensor, renamed.names));
  }

  RenamedTensors Finish() {
    std::sort(result_.unmatched.begin(), result_.unmatched.end());
    for (size_t i = 0; renaming_.names.has_value() && i < renaming_.names->patterns().size(); ++i) {
      if (used_.contains(i)) continue;
      result_.unused_patterns.push_back(renaming_.names->patterns()[i].text());
    }
    return std::move(result_);
  }

 private:
  absl::Status Divide(const StoredTensor& tensor, const std::vector<std::string>& names) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> rows, RowsOf(names));
    const int64_t sum = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    if (tensor.shape.empty() || tensor.shape.front() != sum) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", tensor.shape.empty() ? 0 : tensor.shape.front(),
                       " rows, but the config asks for ", absl::StrJoin(rows, " + "), " = ", sum,
                       " (", absl::StrJoin(names, ", "), ")"));
    }
    if (tensor.bytes % sum != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("its rows of ", tensor.dtype, " begin within bytes: it cannot be divided"));
    }
    StoredTensor part = tensor;
    for (size_t i = 0; i < names.size(); ++i) {
      part.shape.front() = rows[i];
      part.bytes = tensor.bytes / sum * rows[i];
      RETURN_IF_ERROR(AddPart(tensor.name, part, names[i]));
      part.offset += part.bytes;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int64_t>> RowsOf(const std::vector<std::string>& names) const {
    if (renaming_.config == nullptr) {
      return absl::InvalidArgumentError(
          "how many rows each name in braces gets is said by the model's config.json: --config");
    }
    std::vector<int64_t> rows;
    for (const std::string& name : names) {
      const auto found = rows_.find(name);
      if (found == rows_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the config's model has no tensor ", Quoted(name), " to give rows to"));
      }
      rows.push_back(found->second);
    }
    return rows;
  }

  absl::Status AddPart(const std::string& source, StoredTensor part, const std::string& name) {
    if (part.dtype == "C64" || part.dtype == "C128") {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(source), " is complex (", part.dtype,
                       "), as no weight is; --rename and --drop-unmatched leave it out"));
    }
    RETURN_IF_ERROR(CheckName(name));
    // Of tied tensors one is written, and whatever else the config's model has.
    const auto [first, is_first] =
        written_.emplace(Whereabouts(part.file, part.offset, part.dtype, part.shape), name);
    if (part.bytes > 0 && !is_first && !rows_.contains(name)) {
      result_.tied.push_back({name, first->second});
      return absl::OkStatus();
    }
    part.name = name;
    const auto [other, is_new] =
        result_.tensors.emplace(name, RenamedTensor{source, std::move(part)});
    if (is_new) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("tensors ", Quoted(other->second.source),
                                                   " and ", Quoted(source), " would both be named ",
                                                   Quoted(name)));
  }

  const Renaming& renaming_;
  const std::map<std::string, int64_t> rows_;
  std::set<size_t> used_;                       // patterns
  std::map<Whereabouts, std::string> written_;  // new names
  RenamedTensors result_;
};

}  // namespace

absl::StatusOr<RenamedTensors> RenameTensors(const std::vector<StoredTensor>& stored,
                                             const Renaming& renaming) {
  Renamer renamer(renaming);
  for (const StoredTensor& tensor : stored) RETURN_IF_ERROR(renamer.Add(tensor));
  return renamer.Finish();
}

}  // namespace peerage::transform
