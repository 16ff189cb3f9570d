#include "client/expert_picture.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/experts/expert_map.h"
#include "model/experts/mixture_map.h"

namespace peerage::client {
namespace {

ExpertUsage Usage(uint32_t layer, v1::ExpertLayerKind kind, size_t experts) {
  ExpertUsage usage{.selections = std::vector<uint64_t>(experts, 1),
                    .score_sums = std::vector<double>(experts, 0.5)};
  usage.selections[1] = 9;
  usage.header.set_model("m");
  usage.header.set_layer(layer);
  usage.header.set_kind(kind);
  usage.header.set_tokens(5 + layer);
  usage.header.mutable_window_start()->set_seconds(100 - layer);
  usage.header.mutable_window_end()->set_seconds(200 + layer);
  return usage;
}

// Layer 0 has mixtures of two experts, layer 1 a PEER of shared experts, layer 2 one of four sets.
v1::ListModelsResponse Models() {
  v1::ListModelsResponse response;
  v1::Model& model = *response.add_models();
  model.set_name("m");
  const auto add = [&](uint32_t layer, v1::ExpertLayerKind kind, uint32_t sets) {
    v1::ExpertLayer& experts = *model.add_expert_layers();
    experts.set_layer(layer);
    experts.set_kind(kind);
    experts.set_heads(4);
    experts.set_expert_sets(sets);
  };
  add(0, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 1);
  add(0, v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, 1);
  add(1, v1::EXPERT_LAYER_KIND_PEER, 1);
  add(2, v1::EXPERT_LAYER_KIND_PEER, 4);
  return response;
}

MapCaption Caption(const std::string& experts, int start, int end, int tokens) {
  return {.model = "m",
          .experts = experts,
          .window = "recent",
          .start = absl::FromUnixSeconds(start),
          .end = absl::FromUnixSeconds(end),
          .tokens = static_cast<uint64_t>(tokens)};
}

std::string PngOf(const absl::StatusOr<Image>& image) {
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? *image->ToPng() : "";
}

TEST(ExpertPictureTest, DrawsAMapForEachHeadThatHasItsOwnExperts) {
  const ExpertUsage shared = Usage(1, v1::EXPERT_LAYER_KIND_PEER, 36);
  EXPECT_EQ(PngOf(DrawExperts(Models(), {shared}, {.window = "recent"})),
            *DrawExpertMap(shared.selections, *ArrangeExperts(36, 1),
                           Caption("layer 1, peer", 99, 201, 6))
                 .ToPng());
  const ExpertUsage own = Usage(2, v1::EXPERT_LAYER_KIND_PEER, 36);
  EXPECT_EQ(PngOf(DrawExperts(Models(), {own}, {.window = "recent", .scale = 2})),
            *DrawExpertMap(own.selections, *ArrangeExperts(36, 4, 2),
                           Caption("layer 2, peer", 98, 202, 7))
                 .ToPng());
}

TEST(ExpertPictureTest, RefusesANumberOfMapsThatTheLayerDoesNotHave) {
  const ExpertUsage shared = Usage(1, v1::EXPERT_LAYER_KIND_PEER, 36);
  const ExpertUsage own = Usage(2, v1::EXPERT_LAYER_KIND_PEER, 36);
  EXPECT_TRUE(DrawExperts(Models(), {own}, {.window = "recent", .maps = 4}).ok());
  EXPECT_EQ(DrawExperts(Models(), {shared}, {.window = "recent", .maps = 4}).status(),
            absl::InvalidArgumentError(
                "--maps is 4, but layer 1 is drawn as 1: its heads share their experts"));
  EXPECT_EQ(DrawExperts(Models(), {own}, {.window = "recent", .maps = 1}).status(),
            absl::InvalidArgumentError("--maps is 1, but layer 2 is drawn as 4: each of its 4 "
                                       "heads has its own experts"));
  const ExpertUsage mixture = Usage(0, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 2);
  EXPECT_EQ(DrawExperts(Models(), {mixture}, {.window = "recent", .maps = 1}).status(),
            absl::InvalidArgumentError("--maps is for experts that are found by product keys"));
}

TEST(ExpertPictureTest, DrawsMixturesOfAllLayersTogether) {
  const ExpertUsage ffn = Usage(0, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 2);
  const ExpertUsage attention = Usage(0, v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, 2);
  const std::vector<MixtureMapLayer> layers = {
      {.kind = "mixture_ffn", .names = {"0", "1"}, .scores = {0.5, 0.5}},
      {.kind = "mixture_attention", .names = {"0", "1"}, .scores = {0.5, 0.5}}};
  EXPECT_EQ(PngOf(DrawExperts(Models(), {ffn, attention}, {.window = "recent", .scale = 3})),
            PngOf(DrawMixtureMap(layers, Caption("1 layer", 100, 200, 5), 3)));
  EXPECT_FALSE(
      DrawExperts(Models(), {ffn, Usage(1, v1::EXPERT_LAYER_KIND_PEER, 36)}, {.window = "recent"})
          .ok());
}

TEST(ExpertPictureTest, SaysWhatWasDrawn) {
  const ExpertUsage first = Usage(0, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 2);
  const ExpertUsage second = Usage(1, v1::EXPERT_LAYER_KIND_PEER, 4);
  EXPECT_EQ(DescribeExperts({first}), "layer 0, mixture_ffn");
  EXPECT_EQ(DescribeExperts({first, second}), "2 layers");
}

}  // namespace
}  // namespace peerage::client
