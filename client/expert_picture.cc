#include "client/expert_picture.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "client/expert_layers.h"
#include "client/terminal_text.h"
#include "model/experts/expert_map.h"
#include "model/experts/mixture_map.h"

namespace peerage::client {
namespace {

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

// Layers are read one after the other: the caption has the bounds of all.
MapCaption CaptionOf(absl::Span<const ExpertUsage> layers, const std::string& window) {
  MapCaption caption{.model = EscapeText(layers[0].header.model()),
                     .experts = DescribeExperts(layers),
                     .window = window,
                     .start = absl::InfiniteFuture(),
                     .end = absl::InfinitePast()};
  for (const ExpertUsage& layer : layers) {
    caption.start = std::min(caption.start, ToTime(layer.header.window_start()));
    caption.end = std::max(caption.end, ToTime(layer.header.window_end()));
    caption.tokens = std::max<uint64_t>(caption.tokens, layer.header.tokens());
  }
  return caption;
}

// The number of sets that a layer's experts are in. 1 when the server does not say.
int SetsOf(const v1::ListModelsResponse& models, const v1::UsageHeader& header) {
  for (const v1::Model& model : models.models()) {
    if (model.name() != header.model()) continue;
    for (const v1::ExpertLayer& layer : model.expert_layers()) {
      if (layer.layer() != header.layer() || layer.kind() != header.kind()) continue;
      return std::max<int>(1, static_cast<int>(layer.expert_sets()));
    }
  }
  return 1;
}

absl::Status CheckMaps(int maps, int sets, const v1::UsageHeader& header) {
  if (maps == sets) return absl::OkStatus();
  const std::string why = sets == 1
                              ? "its heads share their experts"
                              : absl::StrCat("each of its ", sets, " heads has its own experts");
  return absl::InvalidArgumentError(absl::StrCat("--maps is ", maps, ", but layer ", header.layer(),
                                                 " is drawn as ", sets, ": ", why));
}

absl::StatusOr<Image> DrawMixtures(const v1::ListModelsResponse& models,
                                   absl::Span<const ExpertUsage> layers,
                                   const ExpertPicture& picture) {
  const ExpertNames names(models);
  std::vector<MixtureMapLayer> drawn;
  for (const ExpertUsage& usage : layers) {
    if (!IsMixture(usage.header.kind())) {
      return absl::InvalidArgumentError("several layers are drawn together only of mixtures");
    }
    drawn.push_back({.kind = ExpertKindName(usage.header.kind()),
                     .layer = usage.header.layer(),
                     .names = names.OfAll(usage),
                     .scores = usage.score_sums});
  }
  return DrawMixtureMap(drawn, CaptionOf(layers, picture.window), picture.scale);
}

}  // namespace

absl::StatusOr<Image> DrawExperts(const v1::ListModelsResponse& models,
                                  absl::Span<const ExpertUsage> layers,
                                  const ExpertPicture& picture) {
  const ExpertUsage& first = layers[0];
  if (layers.size() > 1 || IsMixture(first.header.kind())) {
    if (!picture.maps.has_value()) return DrawMixtures(models, layers, picture);
    return absl::InvalidArgumentError("--maps is for experts that are found by product keys");
  }
  const int sets = SetsOf(models, first.header);
  RETURN_IF_ERROR(CheckMaps(picture.maps.value_or(sets), sets, first.header));
  ASSIGN_OR_RETURN(const ExpertGrid grid,
                   ArrangeExperts(first.selections.size(), sets, picture.scale));
  return DrawExpertMap(first.selections, grid, CaptionOf(layers, picture.window));
}

std::string DescribeExperts(absl::Span<const ExpertUsage> layers) {
  const v1::UsageHeader& first = layers[0].header;
  if (layers.size() == 1) {
    return absl::StrCat("layer ", first.layer(), ", ", ExpertKindName(first.kind()));
  }
  std::set<uint32_t> numbers;
  for (const ExpertUsage& usage : layers) numbers.insert(usage.header.layer());
  return absl::StrCat(numbers.size(), numbers.size() == 1 ? " layer" : " layers");
}

}  // namespace peerage::client
