#include "model/checkpoint/layout/peer_layout.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "model/tensor_type.h"

namespace peerage {
namespace {

// How a stored tensor differs from the canonical one, beside its name.
enum class Arrangement {
  kSame,
  kOneAxis,          // all axes but the last are one: the same elements in the same order
  kHalvesOutermost,  // query rows in the order (half, head, component)
  kHalvesInside,     // sub-keys as [heads, n, 2, key_dim / 2]
  kAroundZero,       // less one
  kNormedWeight,     // two halves, each before a batch norm
  kNormedBias,
};

struct StoredName {
  absl::string_view canonical;
  Arrangement arrangement;
  absl::string_view stored[4];  // the rest empty
};

// PEER of peer-pytorch. Its dim_key is that of a half.
constexpr StoredName kLucidrains[] = {
    {"norm.weight", Arrangement::kAroundZero, {"norm.gamma"}},
    {"query.weight", Arrangement::kHalvesOutermost, {"to_queries.0.weight"}},
    {"sub_keys", Arrangement::kHalvesInside, {"keys"}},
    {"down.weight", Arrangement::kSame, {"weight_down_embed.weight"}},
    {"up.weight", Arrangement::kSame, {"weight_up_embed.weight"}},
};

// HashingMemory with peer_variant of facebookresearch/memory.
constexpr StoredName kMetaMemory[] = {
    {"query.weight", Arrangement::kSame, {"query_proj.query_mlps.0.weight"}},
    {"query.bias", Arrangement::kSame, {"query_proj.query_mlps.0.bias"}},
    {"sub_keys", Arrangement::kOneAxis, {"keys"}},
    {"down.weight", Arrangement::kSame, {"values_u.weight"}},
    {"up.weight", Arrangement::kSame, {"values_v.weight"}},
};

// PEERBlock of ostix360/Mixture-of-A-Million-Experts-Unofficial.
constexpr StoredName kOstix360[] = {
    {"query.weight", Arrangement::kSame, {"query_proj.0.weight"}},
    {"query.bias", Arrangement::kSame, {"query_proj.0.bias"}},
    {"query_norm.weight", Arrangement::kSame, {"query_proj.1.weight"}},
    {"query_norm.bias", Arrangement::kSame, {"query_proj.1.bias"}},
    {"query_norm.running_mean", Arrangement::kSame, {"query_proj.1.running_mean"}},
    {"query_norm.running_var", Arrangement::kSame, {"query_proj.1.running_var"}},
    {"sub_keys", Arrangement::kSame, {"keys"}},
    {"down.weight", Arrangement::kSame, {"w_down_embed.weight"}},
    {"up.weight", Arrangement::kSame, {"w_up_embed.weight"}},
    {"gate.weight", Arrangement::kSame, {"w_gate_embed.weight"}},
};

// CDMoE of Doge (transformers).
constexpr StoredName kDoge[] = {
    {"router.weight", Arrangement::kOneAxis, {"router_gate.weight"}},
    {"down.weight", Arrangement::kSame, {"down_embed.weight"}},
    {"up.weight", Arrangement::kSame, {"up_embed.weight"}},
};

// OmniMoE calls the vectors the other way round: up_embed is multiplied with the input.
constexpr StoredName kOmniMoe[] = {
    {"router.weight",
     Arrangement::kNormedWeight,
     {"router_gate_x.weight", "router_norm_x.running_var", "router_gate_y.weight",
      "router_norm_y.running_var"}},
    {"router.bias",
     Arrangement::kNormedBias,
     {"router_norm_x.running_mean", "router_norm_x.running_var", "router_norm_y.running_mean",
      "router_norm_y.running_var"}},
    {"down.weight", Arrangement::kSame, {"up_embed.weight"}},
    {"up.weight", Arrangement::kSame, {"down_embed.weight"}},
};

absl::Span<const StoredName> StoredNames(PeerLayout layout) {
  switch (layout) {
    case PeerLayout::kPeerage:
      return {};
    case PeerLayout::kLucidrains:
      return kLucidrains;
    case PeerLayout::kMetaMemory:
      return kMetaMemory;
    case PeerLayout::kOstix360:
      return kOstix360;
    case PeerLayout::kDoge:
      return kDoge;
    case PeerLayout::kOmniMoe:
      return kOmniMoe;
  }
  return {};
}

using Shape = std::vector<int64_t>;

Shape OneAxis(const Shape& shape) {
  return {Elements(std::span(shape).first(shape.size() - 1)), shape.back()};
}

// Of each part, in the order of the names.
std::vector<Shape> StoredShapes(const ProductKeyConfig& config, Arrangement arrangement,
                                const Shape& canonical) {
  const Shape half = {config.num_sub_keys};
  switch (arrangement) {
    case Arrangement::kOneAxis:
      return {OneAxis(canonical)};
    case Arrangement::kHalvesInside:
      return {{config.heads, config.num_sub_keys, 2, config.key_dim / 2}};
    case Arrangement::kNormedWeight: {
      const Shape matrix = {config.num_sub_keys, canonical.back()};
      return {matrix, half, matrix, half};
    }
    case Arrangement::kNormedBias:
      return {half, half, half, half};
    case Arrangement::kSame:
    case Arrangement::kHalvesOutermost:
    case Arrangement::kAroundZero:
      return {canonical};
  }
  return {canonical};
}

TensorTransform TransformOf(const ProductKeyConfig& config, Arrangement arrangement) {
  switch (arrangement) {
    case Arrangement::kSame:
    case Arrangement::kOneAxis:
      return AsStored{};
    case Arrangement::kHalvesOutermost:
      return AxisSwap{.stored_first = 2, .stored_second = config.heads};
    case Arrangement::kHalvesInside:
      return AxisSwap{
          .outer = config.heads, .stored_first = config.num_sub_keys, .stored_second = 2};
    case Arrangement::kAroundZero:
      return PlusOne{};
    case Arrangement::kNormedWeight:
      return FoldedRouterWeight{config.query_norm_eps};
    case Arrangement::kNormedBias:
      return FoldedRouterBias{config.query_norm_eps};
  }
  return AsStored{};
}

// Buffers and what only other variants of the same class use, by the beginning of the name.
struct IgnoredName {
  PeerLayout layout;
  absl::string_view prefix;
};

constexpr IgnoredName kIgnoredNames[] = {
    {PeerLayout::kMetaMemory, "value_proj."},
    {PeerLayout::kMetaMemory, "swilu_projection."},
    {PeerLayout::kOstix360, "query_proj.1.num_batches_tracked"},
    {PeerLayout::kOmniMoe, "router_norm_x.num_batches_tracked"},
    {PeerLayout::kOmniMoe, "router_norm_y.num_batches_tracked"},
};

// The canonical name of the table that plays a tensor's part. ostix360's gated experts compute
// act(w_down . x) * (w_gate . x), where the format has act(gate . x) * (down . x).
absl::string_view PartPlayed(const PeerConfig& config, absl::string_view canonical) {
  if (config.layout == PeerLayout::kOstix360 && config.glu) {
    if (canonical == "gate.weight") return "down.weight";
    if (canonical == "down.weight") return "gate.weight";
  }
  return canonical;
}

}  // namespace

TensorSpec StoredIn(const PeerConfig& config, TensorSpec canonical) {
  const absl::string_view part = PartPlayed(config, canonical.name);
  for (const StoredName& name : StoredNames(config.layout)) {
    if (name.canonical != part) continue;
    std::vector<Shape> shapes = StoredShapes(config.keys, name.arrangement, canonical.shape);
    for (size_t i = 0; i < shapes.size(); ++i) {
      canonical.parts.push_back({std::string(name.stored[i]), std::move(shapes[i])});
    }
    canonical.transform = TransformOf(config.keys, name.arrangement);
    return canonical;
  }
  canonical.parts = {{canonical.name, canonical.shape}};
  return canonical;
}

bool IsIgnored(PeerLayout layout, absl::string_view name) {
  return std::any_of(std::begin(kIgnoredNames), std::end(kIgnoredNames),
                     [&](const IgnoredName& ignored) {
                       return ignored.layout == layout && absl::StartsWith(name, ignored.prefix);
                     });
}

}  // namespace peerage
