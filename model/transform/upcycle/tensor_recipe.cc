#include "model/transform/upcycle/tensor_recipe.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace peerage::transform {
namespace {

constexpr absl::string_view kExperts = ".experts.";
constexpr absl::string_view kConstants = ".mixture.constants.";
constexpr absl::string_view kPeer = ".ffn.peer.";

// "model.layers.0.ffn.mixture.experts.2.up_proj.weight" of model 2 is
// "model.layers.0.ffn.dense.up_proj.weight", and likewise in attention.
CopiedTensor OfExpert(absl::string_view name, size_t experts) {
  const size_t index = experts + kExperts.size();
  const size_t rest = name.find('.', index);
  CopiedTensor copy;
  [[maybe_unused]] const bool is_number =
      absl::SimpleAtoi(name.substr(index, rest - index), &copy.model);
  copy.tensor = absl::StrReplaceAll(absl::StrCat(name.substr(0, experts), name.substr(rest)),
                                    {{".ffn.mixture.", ".ffn.dense."}});
  return copy;
}

TensorRecipe OfRouter(const UpcycleOptions& options) {
  if (options.routers == RouterInit::kZero) return ConstantTensor{0};
  if (options.routers == RouterInit::kPrompts) return GivenTensor{};
  return RandomTensor{options.router_std};
}

// Up vectors of zero make the memory add nothing; everything else begins as if freshly made:
// scales one, shifts zero, and vectors such that their products with an input of unit variance have
// unit variance.
TensorRecipe OfPeer(absl::string_view part, const TensorSpec& spec) {
  if (part == "up.weight" || absl::EndsWith(part, ".bias") || part == "query_norm.running_mean") {
    return ConstantTensor{0};
  }
  if (part == "norm.weight" || part == "query_norm.weight" || part == "query_norm.running_var") {
    return ConstantTensor{1};
  }
  return RandomTensor{1 / std::sqrt(static_cast<double>(spec.shape.back()))};
}

}  // namespace

TensorRecipe RecipeOf(const TensorSpec& spec, const UpcycleOptions& options) {
  const absl::string_view name = spec.name;
  if (const size_t at = name.find(kPeer); at != name.npos) {
    return OfPeer(name.substr(at + kPeer.size()), spec);
  }
  if (const size_t at = name.find(kExperts); at != name.npos) return OfExpert(name, at);
  if (absl::EndsWith(name, ".router.weight")) return OfRouter(options);
  if (absl::EndsWith(name, ".router.residual.weight") || absl::StrContains(name, kConstants)) {
    return ConstantTensor{0};
  }
  if (!options.MakesMixture() || options.attention == UpcycledAttention::kBase) {
    return CopiedTensor{0, spec.name};
  }
  return AveragedTensor{spec.name};
}

}  // namespace peerage::transform
