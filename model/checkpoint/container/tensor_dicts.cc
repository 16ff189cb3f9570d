#include "model/checkpoint/container/tensor_dicts.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/pytorch_globals.h"
#include "model/checkpoint/container/pytorch_tensor.h"

namespace peerage {
namespace {

constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxDicts = 65'536;
constexpr size_t kMaxPathBytes = 512;
constexpr size_t kMostDictsNamed = 8;

bool IsDict(const PickleContents& pickle, const PickleValue& value) {
  if (value.kind == PickleKind::kDict) return true;
  return value.kind == PickleKind::kCall && MakesDict(pickle.values[value.callee].text);
}

// How a dict was reached.
struct DictPath {
  std::string key;
  size_t depth = 0;
  bool of_optimizer = false;

  DictPath Inner(const PickleValue& inner) const {
    const std::string name = PickledKeyText(inner);
    return {.key = key.empty() ? name : absl::StrCat(key, ".", name),
            .depth = depth + 1,
            .of_optimizer = of_optimizer || inner.kind == PickleKind::kInteger ||
                            absl::StrContains(absl::AsciiStrToLower(name), "optim")};
  }
};

class DictSearch {
 public:
  explicit DictSearch(const PickleContents& pickle) : pickle_(pickle) {}

  absl::StatusOr<std::vector<PickledTensorDict>> Find() {
    RETURN_IF_ERROR(Visit(pickle_.root, {}));
    return std::move(found_);
  }

 private:
  absl::Status Visit(uint32_t index, const DictPath& path) {
    const PickleValue& dict = pickle_.values[index];
    if (!IsDict(pickle_, dict) || path.depth > kMaxDepth || path.key.size() > kMaxPathBytes ||
        !seen_.insert(index).second) {
      return absl::OkStatus();
    }
    PickledTensorDict found{{.key = path.key}, path.of_optimizer, index};
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      if (!IsTensor(pickle_, dict.items[i + 1])) continue;
      absl::StatusOr<PickledTensor> tensor = ReadPickledTensor(pickle_, dict.items[i + 1]);
      const std::string name = PickledKeyText(pickle_.values[dict.items[i]]);
      if (!tensor.ok()) return At(absl::StrCat("tensor ", Quoted(name)), tensor.status());
      ++found.facts.tensors;
      found.facts.bytes += tensor->bytes;
    }
    if (found.facts.tensors > 0) found_.push_back(std::move(found));
    if (found_.size() > kMaxDicts) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxDicts, " dicts of tensors"));
    }
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      RETURN_IF_ERROR(Visit(dict.items[i + 1], path.Inner(pickle_.values[dict.items[i]])));
    }
    return absl::OkStatus();
  }

  const PickleContents& pickle_;
  absl::flat_hash_set<uint32_t> seen_;  // circles end
  std::vector<PickledTensorDict> found_;
};

std::string KeysText(const std::vector<PickledTensorDict>& dicts) {
  std::vector<std::string> keys;
  for (const PickledTensorDict& dict : dicts) {
    if (dict.facts.key.empty()) continue;
    if (keys.size() == kMostDictsNamed) {
      keys.push_back("...");
      break;
    }
    keys.push_back(Quoted(dict.facts.key));
  }
  return keys.empty() ? "none but the outermost" : absl::StrJoin(keys, ", ");
}

absl::Status NoTensors(const PickleContents& pickle) {
  const PickleValue& root = pickle.values[pickle.root];
  if (root.kind == PickleKind::kCall && root.makes_object) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds an object of class ", Quoted(pickle.values[root.callee].text),
                     ", not a dict of tensors; torch.save(model.state_dict(), FILE) writes one"));
  }
  return absl::InvalidArgumentError("holds no dict of tensors");
}

bool IsLess(const PickledTensorDict& a, const PickledTensorDict& b) {
  if (a.of_optimizer != b.of_optimizer) return a.of_optimizer;
  return a.facts.bytes < b.facts.bytes;
}

}  // namespace

absl::StatusOr<std::vector<PickledTensorDict>> FindTensorDicts(const PickleContents& pickle) {
  return DictSearch(pickle).Find();
}

absl::StatusOr<size_t> ChooseTensorDict(const PickleContents& pickle,
                                        const std::vector<PickledTensorDict>& dicts,
                                        const std::string& key) {
  if (dicts.empty()) return NoTensors(pickle);
  const auto chosen =
      key.empty() ? std::max_element(dicts.begin(), dicts.end(), IsLess)
                  : std::find_if(dicts.begin(), dicts.end(), [&](const PickledTensorDict& dict) {
                      return dict.facts.key == key;
                    });
  if (chosen != dicts.end()) return static_cast<size_t>(chosen - dicts.begin());
  return absl::NotFoundError(absl::StrCat("no dict of tensors under the key ", Quoted(key),
                                          "; there are: ", KeysText(dicts)));
}

std::string PickledKeyText(const PickleValue& key) {
  if (key.kind == PickleKind::kString) return std::string(key.text.substr(0, kMaxPathBytes));
  return key.kind == PickleKind::kInteger ? absl::StrCat(key.integer) : "?";
}

}  // namespace peerage
