#include "model/transform/upcycle/upcycle_options.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/config_limits.h"
#include "model/transform/upcycle/peer_memory.h"

namespace peerage::transform {
namespace {

absl::Status Refuse(absl::string_view option, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(option, problem));
}

bool IsNameCharacter(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; }

bool IsExpertName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxExpertNameBytes &&
         std::all_of(name.begin(), name.end(), IsNameCharacter);
}

absl::Status CheckNames(const std::vector<std::string>& names, const UpcycleOptions& options) {
  std::set<std::string> seen;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool of_base = i == 0 || options.num_experts > 0;
    const std::string option =
        absl::StrCat(of_base ? "--base-name " : "--expert ", Quoted(names[i]));
    if (!IsExpertName(names[i])) {
      return Refuse(option, absl::StrCat(" is not 1 to ", kMaxExpertNameBytes,
                                         " ASCII letters, digits, '-', '_' and '.'"));
    }
    if (!seen.insert(names[i]).second) return Refuse(option, ": another expert has this name");
  }
  return absl::OkStatus();
}

absl::Status CheckTopK(const char* option, int top_k, size_t experts) {
  if (top_k >= 1 && static_cast<size_t>(top_k) <= experts) return absl::OkStatus();
  return Refuse(option, absl::StrCat(" is ", top_k, ", not within 1..", experts));
}

// One file for each expert.
absl::Status CheckPrompts(const std::vector<std::string>& names, const UpcycleOptions& options) {
  std::set<std::string> without(names.begin(), names.end());
  for (const NamedPath& prompts : options.prompts) {
    if (without.erase(prompts.name) == 1) continue;
    const bool is_expert = std::find(names.begin(), names.end(), prompts.name) != names.end();
    return Refuse(absl::StrCat("--prompts ", Quoted(prompts.name)),
                  is_expert ? " is there twice" : ": there is no such expert");
  }
  if (without.empty()) return absl::OkStatus();
  return Refuse("--routers prompts",
                absl::StrCat(": expert ", Quoted(*without.begin()), " has no --prompts"));
}

absl::Status CheckPeers(const std::vector<std::string>& peers) {
  std::set<int> layers;
  for (const std::string& text : peers) {
    ASSIGN_OR_RETURN(const PeerMemory memory, ParsePeerMemory(text));
    if (layers.insert(memory.layer).second) continue;
    return Refuse(absl::StrCat("--peer ", Quoted(text)),
                  absl::StrCat(": layer ", memory.layer, " has a memory already"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> UpcycleOptions::ExpertNames() const {
  std::vector<std::string> names = {base.name};
  for (int i = 1; i < num_experts; ++i) names.push_back(absl::StrCat(base.name, "-", i));
  if (num_experts > 0) return names;
  for (const NamedPath& expert : experts) names.push_back(expert.name);
  return names;
}

absl::Status UpcycleOptions::Validate() const {
  const int64_t count = std::max<int64_t>(num_experts, 1 + experts.size());
  if (count > kMixtureExpertsRange.max) {
    return Refuse(num_experts > 0 ? "--num-experts" : "--expert",
                  absl::StrCat(" makes ", count, " experts; at most ", kMixtureExpertsRange.max));
  }
  const std::vector<std::string> names = ExpertNames();
  if (!MakesMixture() && peers.empty()) {
    return absl::InvalidArgumentError("one model and no --peer: there is nothing to do");
  }
  RETURN_IF_ERROR(CheckNames(names, *this));
  if (num_experts > 1 && !allow_identical) {
    return Refuse("--num-experts",
                  " makes experts with the same weights, for which "
                  "--allow-identical is needed");
  }
  const size_t all = names.size() + zero_experts + copy_experts + constant_experts;
  if (all > static_cast<size_t>(kMixtureExpertsRange.max)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--zero-experts, --copy-experts and --constant-experts make ", all,
                     " experts of ", names.size(), "; at most ", kMixtureExpertsRange.max));
  }
  RETURN_IF_ERROR(CheckTopK("--top-k", top_k, all));
  if (attention_top_k.has_value()) {
    RETURN_IF_ERROR(CheckTopK("--attention-top-k", *attention_top_k, names.size()));
  }
  RETURN_IF_ERROR(CheckPeers(peers));
  if (routers != RouterInit::kPrompts || !MakesMixture()) return absl::OkStatus();
  return CheckPrompts(names, *this);
}

}  // namespace peerage::transform
